"""Short names of hyper-parameters: which keys they mean in the networks and readers here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from ppdet_lite.core.build import resolve
from ppdet_lite.core.config import Config
from ppdet_lite.core.registry import get_class, parameters_of, parse_spec, registered


@dataclass(frozen=True)
class Setting:
    """A key that a short name may mean, and the bounds of the search there.

    Attributes:
        default: value where the configuration states none and the class has none of its own.
        needs: a top-level key without which this one has no effect.
    """

    key: str
    low: float
    high: float
    default: Optional[float] = None
    needs: str = ""


_SAMPLE, _BATCH = "TrainReader.sample_transforms", "TrainReader.batch_transforms"
_ALWAYS = ("LearningRate", "OptimizerBuilder", "TrainReader")
_YOLOX_HEADS = (
    "YOLOXHead",
    "UpstreamYOLOXHead",
    "EndToEndYOLOXHead",
    "CoupledAnchorHead",
    "DecoupledAnchorHead",
    "EndToEndCoupledHead",
    "EndToEndDecoupledHead",
)

SHORT_NAMES: dict[str, tuple[Setting, ...]] = {
    "lr": (Setting("LearningRate.base_lr", 1e-5, 0.1),),
    "momentum": (Setting("OptimizerBuilder.optimizer.momentum", 0.6, 0.98),),
    "weight_decay": (Setting("OptimizerBuilder.regularizer.factor", 1e-5, 1e-2),),
    "ema_decay": (Setting("ema_decay", 0.9, 0.9999, needs="use_ema"),),
    "iou_thresh": (
        Setting("YOLOv4Loss.iou_thresh", 0.1, 0.7),
        Setting(f"{_BATCH}.Gt2YoloTarget.iou_thresh", 0.1, 0.7),
    ),
    "ignore_thresh": (
        Setting("YOLOv4Loss.ignore_thresh", 0.4, 0.9),
        Setting("YOLOv3Loss.ignore_thresh", 0.4, 0.9),
        Setting("GuidedAnchorLoss.ignore_thresh", 0.4, 0.9),
        Setting("BestAnchorAssigner.ignore_thresh", 0.4, 0.9),
    ),
    "iou_loss_weight": (
        Setting("YOLOv4Loss.box_loss.loss_weight", 0.01, 20.0),
        Setting("IouLoss.loss_weight", 0.01, 20.0),
        *(Setting(f"{head}.loss_weight.iou", 0.01, 20.0, default=5.0) for head in _YOLOX_HEADS),
    ),
    "obj_normalizer": (Setting("YOLOv4Loss.obj_normalizer", 0.2, 8.0),),
    "label_smoothing": (Setting("YOLOv4Loss.label_smooth_eps", 0.0, 0.1),),
    "jitter": (
        Setting(f"{_SAMPLE}.DarknetMosaic.jitter", 0.0, 0.45),
        Setting(f"{_SAMPLE}.JitterCrop.jitter", 0.0, 0.45),
    ),
    "hue": (
        Setting(f"{_SAMPLE}.DarknetHSV.hue", 0.0, 0.2),
        Setting(f"{_SAMPLE}.AugmentHSV.hgain", 0.0, 18.0),
    ),
    "saturation": (
        Setting(f"{_SAMPLE}.DarknetHSV.saturation", 1.0, 2.0),
        Setting(f"{_SAMPLE}.AugmentHSV.sgain", 0.0, 90.0),
    ),
    "exposure": (
        Setting(f"{_SAMPLE}.DarknetHSV.exposure", 1.0, 2.0),
        Setting(f"{_SAMPLE}.AugmentHSV.vgain", 0.0, 90.0),
    ),
    "mosaic": tuple(
        Setting(f"{_SAMPLE}.{name}.prob", 0.0, 1.0)
        for name in ("DarknetMosaic", "Mosaic", "UpstreamMosaic", "PolygonMosaic")
    ),
    "batch_size": (Setting("TrainReader.batch_size", 1, 64),),
}
"""Any other key is given dotted, with its bounds."""


def settings_of(cfg: Config, name: str) -> list[Setting]:
    """The settings of a short name that this configuration uses."""
    return [setting for setting in SHORT_NAMES[name] if is_used(cfg, setting.key)]


def is_used(cfg: Config, key: str) -> bool:
    """True unless the key belongs to a class that neither the model nor the reader is made of."""
    for prefix in (_SAMPLE, _BATCH):
        if key.startswith(f"{prefix}."):
            return key[len(prefix) + 1 :].partition(".")[0] in _transforms(cfg, prefix)
    name = key.partition(".")[0]
    if "." not in key or name in _ALWAYS or name not in registered():
        return True
    return name in _classes_of(cfg, cfg.architecture)


def default_of(key: str) -> Any:
    """The default that the class before the last dot has for the parameter behind it, else None."""
    *_, name, parameter = ("", *key.split("."))
    if name not in registered() or parameter not in parameters_of(get_class(name)):
        return None
    default = parameters_of(get_class(name))[parameter].default
    return default if isinstance(default, (int, float)) else None


def _transforms(cfg: Config, key: str) -> set[str]:
    """Names of the transforms that a reader lists under a key."""
    reader, _, name = key.partition(".")
    listed = (cfg.get(reader) or {}).get(name) or []
    return {spec.name for spec in map(parse_spec, listed) if spec}


def _classes_of(cfg: Config, name: str) -> set[str]:
    """The registered classes that `name` is built of, its own name included."""
    found, waiting = set(), [name]
    while waiting:
        name = waiting.pop()
        if name in found or name not in registered():
            continue
        found.add(name)
        defaults = [parameter.default for parameter in parameters_of(get_class(name)).values()]
        waiting += _strings([resolve(name, cfg).arguments, defaults])
    return found


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = [*value, *value.values(), getattr(value, "tag", None)]
    if isinstance(value, (list, tuple)):
        return [text for each in value for text in _strings(each)]
    return [value] if isinstance(value, str) else []
