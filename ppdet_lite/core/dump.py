"""Writes values of a configuration as YAML that `core.yaml` reads back as the same values."""

from typing import Any, Mapping, Sequence

import yaml

from ppdet_lite.core.yaml import EXPONENT, Tagged


class _Dumper(yaml.SafeDumper):
    """A line per key, lists of plain values in one line, equal parts written out."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)  # elements of lists are indented

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _mapping(dumper: _Dumper, values: dict[str, Any]) -> yaml.Node:
    tag = f"!{values.tag}" if isinstance(values, Tagged) else "tag:yaml.org,2002:map"
    return dumper.represent_mapping(tag, dict(values).items(), flow_style=not values)


def _sequence(dumper: _Dumper, values: Sequence[Any]) -> yaml.Node:
    is_plain = not any(isinstance(value, (dict, list, tuple)) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_plain)


_Dumper.add_implicit_resolver(*EXPONENT)  # so that such text is put in quotes
_Dumper.add_representer(Tagged, _mapping)
_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(list, _sequence)
_Dumper.add_representer(tuple, _sequence)


def dump_yaml(values: Mapping[str, Any]) -> str:
    """The keys in their order."""
    text: str = yaml.dump(dict(values), Dumper=_Dumper, width=100, allow_unicode=True)
    return text
