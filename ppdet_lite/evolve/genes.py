"""The hyper-parameters of a search: keys of a configuration with bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Sequence, Union

from ppdet_lite.core.annotations import matches
from ppdet_lite.core.build import value_of
from ppdet_lite.core.config import Config, value_at
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import registered
from ppdet_lite.core.settings import SETTINGS
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.evolve.short_names import SHORT_NAMES, Setting, default_of, is_used, settings_of
from ppdet_lite.utils.logger import get_logger


@dataclass(frozen=True)
class Gene:
    """A hyper-parameter.

    Attributes:
        name: as it was given.
        key: dotted key of the configuration.
        start: value of the first trial.
        whole: only whole numbers.
        shares: where the key has a list, its entries as shares of the largest: bounds and values
            are of that one, and the others keep their ratio to it.
    """

    name: str
    key: str
    low: float
    high: float
    start: float
    whole: bool = False
    shares: Sequence[float] = ()

    def fitted(self, value: float) -> float:
        """The nearest value inside the bounds, rounded to five digits."""
        return _rounded(min(max(value, self.low), self.high), self.whole)

    def setting(self, value: float) -> Union[float, list[float]]:
        """What stands under the key for a value."""
        if not self.shares:
            return value
        return [_rounded(share * value, self.whole) for share in self.shares]


def _rounded(value: float, whole: bool) -> float:
    return int(round(value)) if whole else float(f"{value:.5g}")


def genes_of(cfg: Config, text: str) -> list[Gene]:
    """Reads `lr,momentum=0.8:0.95,TrainReader.batch_size=2:8`: names or dotted keys, each with
    `=low:high` or, for short names, their own bounds, which are widened to a start beyond them.

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
    is_short = name in SHORT_NAMES and "." not in name
    if not is_short and "." not in name and name not in SETTINGS:
        allowed = f"{', '.join(SHORT_NAMES)}, or a dotted key"
        raise ConfigError(f"found {name}, allowed: {allowed}{nearest_hint(name, SHORT_NAMES)}")
    if not is_short and not equals:
        raise ConfigError(f"{name}: found no bounds, allowed: {name}=low:high")
    settings = settings_of(cfg, name) if is_short else [Setting(name, 0.0, 0.0)]
    setting, value = _start(cfg, name, settings)
    values = value if isinstance(value, list) else [value]
    start, whole = max(values), all(isinstance(each, int) for each in values)
    shares = [each / start for each in values] if isinstance(value, list) else []
    low, high = setting.low, setting.high
    if equals:
        low, high = _bounds(name, bounds)
        if not low <= start <= high:
            problem = f"{name}: found {start:g} in the configuration, allowed: {low:g} to {high:g}"
            raise ConfigError(f"{problem}; change the value or the bounds ({name}=low:high)")
    elif not low <= start <= high:
        low, high = min(low, start), max(high, start)
        text = "%s: %s is %g, beyond the bounds of the search: they are %g to %g now"
        get_logger().info(text, name, setting.key, start, low, high)
    if shares:
        text = "%s: %s is %s: %g to %g is for the largest, the others keep their ratio to it"
        get_logger().info(text, name, setting.key, value, low, high)
    return Gene(name, setting.key, low, high, float(start), whole, shares)


def _start(cfg: Config, name: str, settings: Sequence[Setting]) -> tuple[Setting, Any]:
    """The first of the settings that has a number or a list of them, and that."""
    problems: list[str] = []
    for setting in settings:
        setting = replace(setting, key=_followed(cfg, setting.key))
        if setting.needs and not getattr(cfg.settings, setting.needs):
            problems.append(f"{setting.key}: has no effect, as {setting.needs} is false")
            continue
        try:
            value = _value(cfg, setting)
        except ConfigError as error:
            problems += error.problems
            continue
        if _is_number(value) or _are_scalable(value):
            return setting, value
        problems.append(f"{setting.key}: found {value!r}, allowed: a number, or a list of them")
    if not problems:
        known = ", ".join(setting.key for setting in SHORT_NAMES[name])
        problems.append(f"{cfg.name} has no such setting, allowed: one of {known}")
    raise ConfigError(f"{name}: {'; '.join(problems)}")


def _is_number(value: Any) -> bool:
    return matches(value, float) and not isinstance(value, bool)


def _are_scalable(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value)) and max(value, default=0) > 0


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


def _value(cfg: Config, setting: Setting) -> Any:
    """The value that a key has, stated or by default."""
    key = setting.key
    class_name, _, parameter = key.partition(".")
    is_parameter = class_name in registered() and parameter and "." not in parameter
    if is_parameter and (class_name in cfg or is_used(cfg, key)):
        return value_of(cfg, class_name, parameter)
    if key in SETTINGS:
        return getattr(cfg.settings, key)
    try:
        return value_at(cfg, key)
    except ConfigError:
        if setting.default is not None:
            return setting.default
        default = default_of(key)
        if default is None:
            raise
        value_at(cfg, key.rpartition(".")[0])  # the class is there, only its parameter is not
        return default


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
    return [f"{gene.key}={gene.setting(values[gene.name])!r}" for gene in genes]
