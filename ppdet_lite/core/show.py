"""Prints a resolved configuration with the origin of every value."""

from copy import deepcopy
from typing import Any, Iterator

import yaml

from ppdet_lite.core.config import Config
from ppdet_lite.core.registry import parameters_of, registered
from ppdet_lite.core.yaml import KeyPath, Origin, Tagged

_COLUMN = 60
_PLAIN = (str, int, float, bool, list, tuple, type(None))


def describe_config(cfg: Config) -> str:
    """The configuration as YAML, each line with `# file:line`, `# -o key=value` or `# default`.

    `# default or derived` stands at defaults of classes that take some arguments from other parts
    while they are built, such as the channels of the backbone.
    """
    full = deepcopy(cfg)
    for name in [name for name in cfg if name in registered()]:
        _fill_section(full, name, registered()[name])
    return "\n".join(
        line for key, value in full.items() for line in _lines(full, (key,), f"{key}:", value)
    )


def _fill_section(cfg: Config, name: str, cls: type) -> None:
    """Enters the parameters of plain data that the section of a class does not mention."""
    default = Origin("default or derived" if hasattr(cls, "from_config") else "default")
    section = cfg[name] = cfg[name] or {}
    for key, parameter in parameters_of(cls).items():
        if key in section:
            continue
        if key in getattr(cls, "__shared__", ()) and key in cfg:
            section[key], cfg.origins[name, key] = cfg[key], _origin(cfg, (key,))
        elif isinstance(parameter.default, _PLAIN):
            section[key], cfg.origins[name, key] = parameter.default, default


def _origin(cfg: Config, path: KeyPath) -> Origin:
    return cfg.origin(*path) if path in cfg.origins or len(path) > 1 else Origin("default")


def _lines(cfg: Config, path: KeyPath, label: str, value: Any) -> Iterator[str]:
    children: list[tuple[Any, str]] = []
    if isinstance(value, Tagged):
        label, value = f"{label} !{value.tag}", dict(value)
    if isinstance(value, dict):
        children = [(key, f"{key}:") for key in value]
    elif isinstance(value, list) and any(isinstance(element, (dict, list)) for element in value):
        children = [(index, "-") for index in range(len(value))]
    text = "  " * (len(path) - 1) + (label if children else f"{label} {_scalar(value)}")
    yield f"{text:<{_COLUMN}}  # {_origin(cfg, path)}"
    for key, child_label in children:
        yield from _lines(cfg, (*path, key), child_label, value[key])


def _scalar(value: Any) -> str:
    value = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.replace("\n...\n", "").strip()
