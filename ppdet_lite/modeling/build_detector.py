"""The network of a configuration."""

from typing import Any

from paddle import nn

from ppdet_lite.core.build import Section
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.contracts import Detector


def build_detector(cfg: Config) -> Detector:
    """The detector that `architecture` names, with random weights.

    Raises:
        ConfigError: it cannot be built, or is no detector. A file that does not name an
            architecture is told so.
    """
    try:
        model = create(cfg.architecture, cfg)
    except ConfigError as error:
        if cfg.path is None or ("architecture",) in cfg.origins:
            raise
        missing = f"{cfg.path}: architecture: missing, so it was taken for {cfg.architecture}"
        raise ConfigError([missing, *error.problems]) from error
    if not isinstance(model, Detector):
        raise ConfigError(
            f"{cfg.origin('architecture')}: architecture: found {cfg.architecture!r}, which is no "
            "detector, allowed: one of modeling/detectors, for instance YOLOv3 or YOLOX, or a "
            "class of your own that derives from ppdet_lite.modeling.contracts.Detector"
        )
    return model


def build_parts(section: Section, **defaults: str) -> dict[str, nn.Layer]:
    """Parts of a detector, each of which learns the shapes of the one before.

    Args:
        section: of the detector.
        **defaults: key -> class where the section is silent, in the order of the parts.

    Returns:
        key -> part.
    """
    parts: dict[str, nn.Layer] = {}
    shapes: dict[str, Any] = {}
    for key, default in defaults.items():
        parts[key] = create(section.get(key) or default, section.config, **shapes)
        if len(parts) < len(defaults):
            shapes = {"input_shape": parts[key].out_shape}
    return parts
