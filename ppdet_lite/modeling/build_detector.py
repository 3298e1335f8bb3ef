"""Builds the network of a configuration."""

from typing import Any

from paddle import nn

from ppdet_lite.core.build import Section
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.contracts import Detector


def build_detector(cfg: Config) -> Detector:
    """Builds the detector named by `architecture`, with random weights.

    Raises:
        ConfigError: the network cannot be built, or the class is no detector. If the configuration
            file names no architecture, the first line says so.
    """
    try:
        model = create(cfg.architecture, cfg)
    except ConfigError as error:
        if cfg.path is None or ("architecture",) in cfg.origins:
            raise
        missing = f"{cfg.path}: architecture: missing, so it was taken for {cfg.architecture}"
        raise ConfigError([missing, *error.problems]) from error
    except MemoryError as error:
        raise ConfigError(
            f"{cfg.origin('architecture')}: architecture: {cfg.architecture} does not fit into "
            "memory with these settings; check num_classes and the numbers of channels"
        ) from error
    if not isinstance(model, Detector):
        raise ConfigError(
            f"{cfg.origin('architecture')}: architecture: found {cfg.architecture!r}, which is no "
            "detector, allowed: a class of modeling/detectors, for instance YOLOv3 or YOLOX, or "
            "your own subclass of ppdet_lite.modeling.contracts.Detector"
        )
    return model


def build_parts(section: Section, **defaults: str) -> dict[str, nn.Layer]:
    """Builds the parts of a detector in order; each gets the `out_shape` of the previous one.

    Args:
        section: section of the detector.
        **defaults: key -> class name to use where the section has no such key.
    """
    parts: dict[str, nn.Layer] = {}
    shapes: dict[str, Any] = {}
    for key, default in defaults.items():
        parts[key] = create(section.get(key) or default, section.config, **shapes)
        if len(parts) < len(defaults):
            shapes = {"input_shape": parts[key].out_shape}
    return parts
