"""Prints a resolved configuration with the origin of every value."""

import inspect
from typing import Any, Union

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
    lines: list[str] = []
    classes = registered()
    for key, value in cfg.items():
        silent = _silent(cfg, classes[key], value or {}) if key in classes else []
        if silent:
            lines.append(_line(f"{key}:", cfg.origin(key), 0))
            for name, child in (value or {}).items():
                _describe(cfg, (key, name), f"{name}:", child, lines)
            lines += [_line(f"{name}: {_scalar(v)}", origin, 1) for name, v, origin in silent]
        else:
            _describe(cfg, (key,), f"{key}:", value, lines)
    return "\n".join(lines)


def _silent(
    cfg: Config, cls: type, section: dict[str, Any]
) -> list[tuple[str, Any, Union[Origin, str]]]:
    """Name, value and origin of the parameters that the section does not mention, as far as their
    values are plain data.
    """
    default = "default or derived" if hasattr(cls, "from_config") else "default"
    result: list[tuple[str, Any, Union[Origin, str]]] = []
    for name, parameter in parameters_of(cls).items():
        if name in section:
            continue
        if name in getattr(cls, "__shared__", ()) and name in cfg:
            result.append((name, cfg[name], _origin(cfg, (name,))))
        elif parameter.default is not inspect.Parameter.empty and isinstance(
            parameter.default, _PLAIN
        ):
            result.append((name, parameter.default, default))
    return result


def _origin(cfg: Config, path: KeyPath) -> Union[Origin, str]:
    return cfg.origin(*path) if path in cfg.origins or len(path) > 1 else "default"


def _describe(cfg: Config, path: KeyPath, label: str, value: Any, lines: list[str]) -> None:
    origin, depth = _origin(cfg, path), len(path) - 1
    if isinstance(value, Tagged):
        label = f"{label} !{value.tag}"
    if isinstance(value, dict) and value:
        lines.append(_line(label, origin, depth))
        for key, child in value.items():
            _describe(cfg, (*path, key), f"{key}:", child, lines)
    elif isinstance(value, list) and any(isinstance(element, (dict, list)) for element in value):
        lines.append(_line(label, origin, depth))
        for index, child in enumerate(value):
            _describe(cfg, (*path, index), "-", child, lines)
    else:
        lines.append(_line(f"{label} {_scalar(value)}", origin, depth))


def _scalar(value: Any) -> str:
    value = list(value) if isinstance(value, tuple) else value
    value = dict(value) if isinstance(value, Tagged) else value
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.replace("\n...\n", "").strip()


def _line(text: str, origin: Union[Origin, str], depth: int) -> str:
    return f"{'  ' * depth + text:<{_COLUMN}}  # {origin}"
