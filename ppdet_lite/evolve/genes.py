"""The hyper-parameters of a search: keys of a configuration with bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

from ppdet_lite.core.annotations import matches
from ppdet_lite.core.build import value_of
from ppdet_lite.core.config import Config, value_at
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import registered
from ppdet_lite.core.settings import SETTINGS
from ppdet_lite.core.suggest import nearest_hint


@dataclass(frozen=True)
class Alias:
    """A short name: the keys that it may mean, of which the first one in use counts, and bounds."""

    keys: tuple[str, ...]
    low: float
    high: float


_TRAIN = "TrainReader.sample_transforms"

ALIASES = {
    "lr": Alias(("LearningRate.base_lr",), 1e-5, 0.1),
    "momentum": Alias(("OptimizerBuilder.optimizer.momentum",), 0.6, 0.98),
    "weight_decay": Alias(("OptimizerBuilder.regularizer.factor",), 1e-5, 1e-2),
    "ema_decay": Alias(("ema_decay",), 0.9, 0.9999),
    "iou_thresh": Alias(("YOLOv4Loss.iou_thresh",), 0.1, 0.7),
    "ignore_thresh": Alias(("YOLOv4Loss.ignore_thresh", "YOLOv3Loss.ignore_thresh"), 0.4, 0.9),
    "iou_loss_weight": Alias(
        ("YOLOv4Loss.box_loss.loss_weight", "IouLoss.loss_weight", "YOLOXHead.loss_weight.iou"),
        0.01,
        20.0,
    ),
    "obj_normalizer": Alias(("YOLOv4Loss.obj_normalizer",), 0.2, 4.0),
    "label_smoothing": Alias(("YOLOv4Loss.label_smooth_eps",), 0.0, 0.1),
    "jitter": Alias((f"{_TRAIN}.DarknetMosaic.jitter", f"{_TRAIN}.JitterCrop.jitter"), 0.0, 0.45),
    "hue": Alias((f"{_TRAIN}.DarknetHSV.hue",), 0.0, 0.2),
    "saturation": Alias((f"{_TRAIN}.DarknetHSV.saturation",), 1.0, 2.0),
    "exposure": Alias((f"{_TRAIN}.DarknetHSV.exposure",), 1.0, 2.0),
    "mosaic": Alias((f"{_TRAIN}.DarknetMosaic.prob", f"{_TRAIN}.Mosaic.prob"), 0.0, 1.0),
    "batch_size": Alias(("TrainReader.batch_size",), 1, 64),
}
"""Short names; any other key is given dotted, with its bounds."""


@dataclass(frozen=True)
class Gene:
    """A hyper-parameter.

    Attributes:
        name: as it was given.
        key: dotted key of the configuration.
        start: value of the first trial.
        whole: only whole numbers.
    """

    name: str
    key: str
    low: float
    high: float
    start: float
    whole: bool = False

    def fitted(self, value: float) -> float:
        """The nearest value inside the bounds, rounded to five digits."""
        value = min(max(value, self.low), self.high)
        return int(round(value)) if self.whole else float(f"{value:.5g}")


def genes_of(cfg: Config, text: str) -> list[Gene]:
    """Reads `lr,momentum=0.8:0.95,TrainReader.batch_size=2:8`: names or dotted keys, each with
    `=low:high` or, for short names, their own bounds.

    Raises:
        ConfigError: names each one that cannot be used.
    """
    problems, genes = [], []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            genes.append(_gene(cfg, part))
        except ConfigError as error:
            problems += [f"`hyp`: {problem}" for problem in error.problems]
    names = [gene.key for gene in genes]
    problems += [f"`hyp`: {key}: found twice" for key in sorted(set(names)) if names.count(key) > 1]
    if not genes and not problems:
        problems.append("`hyp`: found no name, allowed: for instance lr,momentum=0.8:0.95")
    if problems:
        raise ConfigError(problems)
    return genes


def _gene(cfg: Config, part: str) -> Gene:
    name, equals, bounds = part.partition("=")
    alias = ALIASES.get(name)
    if alias is None and "." not in name and name not in SETTINGS:
        allowed = f"{', '.join(ALIASES)}, or a dotted key"
        raise ConfigError(f"found {name}, allowed: {allowed}{nearest_hint(name, ALIASES)}")
    key, start = _start(cfg, name, alias.keys if alias else (name,))
    if equals:
        low, high = _bounds(name, bounds)
    elif alias is not None:
        low, high = alias.low, alias.high
    else:
        raise ConfigError(f"{name}: found no bounds, allowed: {name}=low:high")
    whole = isinstance(start, int)
    gene = Gene(name, key, low, high, float(start), whole)
    if not low <= start <= high:
        problem = f"{name}: found {start:g} in the configuration, allowed: {low:g} to {high:g}"
        raise ConfigError(f"{problem}; change the value or the bounds ({name}=low:high)")
    return gene


def _start(cfg: Config, name: str, keys: Sequence[str]) -> tuple[str, Any]:
    """The first of the keys that has a number, and that."""
    found: list[str] = []
    for key in (_followed(cfg, key) for key in keys):
        try:
            value = _value(cfg, key)
        except ConfigError as error:
            found += error.problems
            continue
        if matches(value, float) and not isinstance(value, bool):
            return key, value
        found.append(f"{key}: found {value!r}, allowed: a number")
    raise ConfigError(f"{name}: {'; '.join(found)}")


def _followed(cfg: Config, key: str) -> str:
    """`YOLOv4Loss.box_loss.loss_weight` as `IouBoxLoss.loss_weight` where that class is named."""
    head, _, parameter = key.rpartition(".")
    if "." not in head:
        return key
    try:
        name = value_at(cfg, head)
    except ConfigError:
        return key
    return f"{name}.{parameter}" if isinstance(name, str) and name in registered() else key


def _value(cfg: Config, key: str) -> Any:
    """The value that a key has, stated or by default."""
    class_name, _, parameter = key.partition(".")
    if class_name in registered() and class_name in cfg and parameter and "." not in parameter:
        return value_of(cfg, class_name, parameter)
    if key in SETTINGS:
        return getattr(cfg.settings, key)
    return value_at(cfg, key)


def _bounds(name: str, text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        bounds = 1.0, 0.0
    if not bounds[0] < bounds[1]:
        raise ConfigError(f"{name}: found {text!r}, allowed: low:high, two numbers that rise")
    return bounds


def overrides_of(genes: Sequence[Gene], values: dict[str, float]) -> list[str]:
    """The values as `-o` takes them."""
    return [f"{gene.key}={values[gene.name]!r}" for gene in genes]
