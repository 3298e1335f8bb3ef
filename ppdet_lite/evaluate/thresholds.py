"""The score threshold of each class with the best F1, as it is stored with weights."""

from typing import Optional

from ppdet_lite.core.annotations import Probability, matches
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import CheckpointError, ConfigError
from ppdet_lite.weights.checkpoint import read_meta
from ppdet_lite.weights.manifest import stem_of


def thresholds_of_weights(weights: Optional[str], class_count: int) -> Optional[list[float]]:
    """By class index; None where the weights are stored without any.

    Raises:
        CheckpointError: the side file holds something else.
    """
    stored = read_meta(weights).get("thresholds") if weights else None
    if stored is not None and (
        not matches(stored, list[Probability]) or len(stored) != class_count
    ):
        raise CheckpointError(
            f"{stem_of(str(weights))}.meta.json: thresholds: found {str(stored)[:200]}, allowed: "
            f"{class_count} scores from 0 to 1, one for each class"
        )
    return stored


def thresholds_for_use(cfg: Config) -> list[float]:
    """Those of `cfg.weights`; a ConfigError where there are none."""
    weights = cfg.settings.weights
    thresholds = thresholds_of_weights(weights, cfg.settings.num_classes)
    if thresholds is None:
        raise ConfigError(
            f"`threshold`: found auto, but no thresholds are stored with {weights}; allowed: 0 to "
            "1, or weights of a training with evaluations"
        )
    return thresholds
