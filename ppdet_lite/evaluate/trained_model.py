"""The model of a configuration with its trained weights."""

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.modeling.build_detector import build_detector
from ppdet_lite.modeling.contracts import Detector
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.load import load_weights
from ppdet_lite.weights.zoo import locate_weights, weights_of_config


def load_trained_model(cfg: Config) -> tuple[Detector, str]:
    """The model of `cfg` in eval mode with `cfg.weights` in it, and the path of the weights.

    Raises:
        CheckpointError: no weights are given, or they do not fill this model.
    """
    weights, partial = cfg.settings.weights, cfg.settings.allow_partial_weights
    if not weights:
        allowed = ["a path", "a URL", *weights_of_config(cfg.name)]
        path = f"{cfg.output_folder}/best_model"
        raise CheckpointError(f"no weights: set weights={path} ({' or '.join(allowed)})")
    weights = locate_weights(weights, offline=cfg.settings.offline)
    model = build_detector(cfg)
    report = load_weights(model, weights, allow_partial=partial)
    if (report.missing or report.mismatched) and not partial:
        raise CheckpointError(
            "\n".join(report.lines())
            + "\nLayers that are not in the file would be random. Use the configuration the "
            "weights were trained with (num_classes included); allow_partial_weights=true goes on "
            "all the same."
        )
    for line in report.lines():
        get_logger().info("%s", line)
    model.eval()
    return model, weights
