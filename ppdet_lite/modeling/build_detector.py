"""The network of a configuration."""

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create

_SIGNS_OF_A_PART = ("out_shape", "get_loss")
"""Backbones and necks say the shapes of their maps, heads have a loss; detectors have neither."""


def build_detector(cfg):
    """The detector that `architecture` names, with random weights.

    Raises:
        ConfigError: it cannot be built, or is only a part of a detector. A file that does not name
            an architecture is told so.
    """
    try:
        model = create(cfg.architecture, cfg)
    except ConfigError as error:
        if cfg.path is None or ("architecture",) in cfg.origins:
            raise
        missing = f"{cfg.path}: architecture: missing, so it was taken for {cfg.architecture}"
        raise ConfigError([missing, *error.problems]) from error
    if any(hasattr(model, sign) for sign in _SIGNS_OF_A_PART):
        raise ConfigError(
            f"{cfg.origin('architecture')}: architecture: found {cfg.architecture!r}, which is a "
            "part of a detector, allowed: a detector, for instance YOLOv3 or YOLOX"
        )
    return model
