"""Prints a resolved configuration with the origin of every value (`--print-config`)."""

import inspect
from typing import Any

import yaml

from ppdet_lite.core.config import Config
from ppdet_lite.core.workspace import parameters_of, registered
from ppdet_lite.core.yaml_loader import Tagged

_COLUMN = 60


def describe_config(cfg: Config) -> str:
    """The configuration as YAML, each line with `# file:line`, `# -o key=value` or `# default`."""
    lines = []
    classes = registered()
    for key, value in cfg.items():
        defaults = _defaults(classes[key], value) if key in classes else {}
        if defaults:
            value = value or {}
            lines.append(_line(f"{key}:", cfg.origin(key), 0))
            for name, child in value.items():
                _describe(cfg, (key, name), f"{name}:", child, 1, lines)
            for name, default in defaults.items():
                lines.append(_line(f"{name}: {_scalar(default)}", "default", 1))
        else:
            _describe(cfg, (key,), f"{key}:", value, 0, lines)
    return "\n".join(lines)


def _defaults(cls: type, section: Any) -> dict:
    """Constructor defaults that the section leaves in force and that are plain data."""
    given = section or {}
    return {
        name: parameter.default
        for name, parameter in parameters_of(cls).items()
        if name not in given
        and parameter.default is not inspect.Parameter.empty
        and isinstance(parameter.default, (str, int, float, bool, list, tuple, type(None)))
    }


def _describe(cfg: Config, path: tuple, label: str, value: Any, depth: int, lines: list) -> None:
    origin = cfg.origin(*path) if path in cfg.origins or len(path) > 1 else "default"
    if isinstance(value, Tagged):
        label = f"{label} !{value.tag}"
    if isinstance(value, dict) and value:
        lines.append(_line(label, origin, depth))
        for key, child in value.items():
            _describe(cfg, (*path, key), f"{key}:", child, depth + 1, lines)
    elif isinstance(value, list) and any(isinstance(element, (dict, list)) for element in value):
        lines.append(_line(label, origin, depth))
        for index, child in enumerate(value):
            _describe(cfg, (*path, index), "-", child, depth + 1, lines)
    else:
        lines.append(_line(f"{label} {_scalar(value)}", origin, depth))


def _scalar(value: Any) -> str:
    value = list(value) if isinstance(value, tuple) else value
    value = dict(value) if isinstance(value, Tagged) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.replace("\n...\n", "").strip()


def _line(text: str, origin: Any, depth: int) -> str:
    return f"{'  ' * depth + text:<{_COLUMN}}  # {origin}"
