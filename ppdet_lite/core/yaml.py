"""Reads YAML into plain values and remembers the line of every one of them.

Differences from `yaml.safe_load`: a `!Name {...}` node becomes a `Tagged` dict (so nothing is
executed while reading), `1e-3` is a number, and a key that stands twice in one mapping is noted
instead of being dropped in silence.
"""

import re
from typing import Any, NamedTuple, Optional, Union

import yaml

from ppdet_lite.core.errors import ConfigError

KeyPath = tuple[Union[str, int], ...]
"""Where a value stands: ("TrainReader", "sample_transforms", 0, "Mixup", "alpha")."""


class Origin(NamedTuple):
    """Origin of a value: a file with its line, or a source without lines such as `-o`."""

    source: str
    line: Optional[int] = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class Tagged(dict[str, Any]):
    """A `!Name {...}` node: the arguments, with the class name in `tag`."""

    tag: str = ""

    def __init__(self, tag: str = "", args: Optional[dict[str, Any]] = None):
        super().__init__(args or {})
        self.tag = tag

    def __repr__(self) -> str:
        return f"!{self.tag} {dict(self)!r}"

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.tag == getattr(other, "tag", None)

    def __ne__(self, other: object) -> bool:  # that of dict does not ask __eq__
        return not self == other


class _Loader(yaml.SafeLoader):
    """SafeLoader whose floats include `1e-3` and `5E4`, which YAML 1.1 reads as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*)(?:\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


class YamlDocument(NamedTuple):
    """A parsed document: its value, the line (from 1) of every path in it, and remarks for the
    user.
    """

    value: Any
    lines: dict[KeyPath, int]
    notes: list[str]


def parse_yaml(text: str, source: str) -> YamlDocument:
    """Parses one YAML document.

    Args:
        text: the document.
        source: its name in error messages, usually the file path.

    Raises:
        ConfigError: the text is not YAML, or holds a tag that would run Python code.
    """
    loader = _Loader(text)
    builder = _Builder(loader, source)
    try:
        node = loader.get_single_node()
        value = None if node is None else builder.build(node, ())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = source if mark is None else f"{source}:{mark.line + 1}"
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}") from None
    finally:
        loader.dispose()
    return YamlDocument(value, builder.lines, builder.notes)


class _Builder:
    def __init__(self, loader: _Loader, source: str):
        self.loader = loader
        self.source = source
        self.lines: dict[KeyPath, int] = {}
        self.notes: list[str] = []

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        line = self.lines[path] = node.start_mark.line + 1
        if node.tag.startswith("tag:yaml.org,2002:python/"):  # would run or import code
            raise yaml.constructor.ConstructorError(
                None, None, f"the tag {node.tag} is not allowed", node.start_mark
            )
        tag = node.tag[1:] if node.tag.startswith("!") else None
        value: Any = node.value
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            value = [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
        elif tag is None:
            value = self.loader.construct_object(node)
        if tag is None:
            return value
        if value != "" and not isinstance(value, dict):
            raise ConfigError(
                f"{self.source}:{line}: {dotted(path)}: found !{tag} with "
                f"{type(value).__name__} content, allowed: a mapping, as in !{tag} {{key: value}}"
            )
        return Tagged(tag, value or {})

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[Any, Any]:
        self._note_doubles(node, path)
        self.loader.flatten_mapping(node)  # resolves `<<: *anchor`
        result = {}
        for key_node, value_node in node.value:
            key = self.loader.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if not isinstance(key, (str, int)):
                raise ConfigError(
                    f"{self.source}:{line}: {dotted(path)}: found the key {key!r}, allowed: text"
                )
            result[key] = self.build(value_node, (*path, key))
            self.lines[(*path, key)] = line
        return result

    def _note_doubles(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first_seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in first_seen:
                self.notes.append(
                    f"{self.source}:{line}: {dotted((*path, key))} stands here and in line "
                    f"{first_seen[key]}; the later one is used"
                )
            first_seen[key] = line


def dotted(path: KeyPath) -> str:
    """A path as people write it, also in overrides: `TrainReader.batch_size`."""
    return ".".join(str(part) for part in path) or "(top level)"
