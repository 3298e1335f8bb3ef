"""Reads YAML into plain values and remembers the line of every one of them.

Differences from `yaml.safe_load`: a `!Name {...}` node becomes a `Tagged` dict (so nothing is
executed while reading), `1e-3` is a number, dates and keys such as `on` stay text, a key that
stands twice in one mapping is noted instead of being dropped in silence, and size, depth and number
of values are bounded.
"""

import re
from pathlib import Path
from typing import Any, Collection, NamedTuple, Optional, Union

import yaml

from ppdet_lite.core.errors import ConfigError, UserError

MAX_BYTES, MAX_VALUES, MAX_DEPTH = 4 << 20, 100_000, 100
_INTEGER = "tag:yaml.org,2002:int"

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


class YamlDocument(NamedTuple):
    """A document: its value, the line (from 1) of every path in it, and remarks for the user."""

    value: Any
    lines: dict[KeyPath, int]
    notes: list[str]


def read_yaml(
    path: Path, error: type[UserError] = ConfigError, text_keys: Collection[str] = ()
) -> YamlDocument:
    """Reads a file with one YAML document; the arguments are those of `parse_yaml`.

    Raises:
        UserError: the file cannot be read or is not YAML within the bounds (of the kind `error`).
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)  # no more of a device or a wrong file
        text = content.decode("utf-8")
    except UnicodeDecodeError as cause:
        line = content[: cause.start].count(b"\n") + 1
        raise error(f"{path}:{line}: cannot be read: not text in UTF-8") from cause
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the name
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"{path}: cannot be read: {reason}") from cause
    return parse_yaml(text, str(path), error, text_keys)


def parse_yaml(
    text: str, source: str, error: type[UserError] = ConfigError, text_keys: Collection[str] = ()
) -> YamlDocument:
    """Parses one YAML document, within bounds of size, depth and number of values, so that aliases
    of aliases cannot fill the memory.

    Args:
        text: the document.
        source: its name in error messages, usually the file path.
        error: the kind of error.
        text_keys: keys of the top level under which plain values stay text as written: class names
            such as `no`, `007` and `1.0`.

    Raises:
        UserError: the text is not YAML, is out of bounds, or holds a tag that would run Python
            code (of the kind `error`).
    """
    if len(text) > MAX_BYTES:
        raise error(f"{source}: found more than {MAX_BYTES >> 20} MB, allowed: less")
    try:
        loader = _Loader(text, source, text_keys)
        node = loader.get_single_node()
        value = None if node is None else loader.build(node, ())
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        where = source if mark is None else f"{source}:{mark.line + 1}"
        problem = " ".join(str(getattr(cause, "problem", None) or cause).split())
        is_value = isinstance(cause, _ValueError)
        raise error(f"{where}: {'' if is_value else 'not valid YAML: '}{problem}") from None
    return YamlDocument(value, loader.lines, loader.notes)


class _ValueError(yaml.MarkedYAMLError):
    """A value that is YAML, but cannot be used."""


def _refused(problem: str, mark: Optional[yaml.Mark]) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _unusable(node: yaml.Node, path: KeyPath, found: str, allowed: str) -> _ValueError:
    found = found if len(found) <= 100 else f"{found[:40]}... ({len(found)} characters)"
    text = f"{dotted(path)}: found {found}, allowed: {allowed}"
    text = text.encode("utf-8", "backslashreplace").decode()
    return _ValueError(problem=text, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """SafeLoader with bounds, whose floats include `1e-3` and `5E4`, which YAML 1.1 reads as text,
    and whose dates stay text.
    """

    yaml_implicit_resolvers = {
        first: [entry for entry in entries if not entry[0].endswith(":timestamp")]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _depth = 0

    def __init__(self, text: str, source: str, text_keys: Collection[str]):
        super().__init__(text)
        self.source, self.text_keys = source, text_keys
        self.lines: dict[KeyPath, int] = {}
        self.notes: list[str] = []

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _refused(f"more than {MAX_DEPTH} levels inside one another", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:  # grows before PyYAML 6.0.4
        super().flatten_mapping(node)
        if len(node.value) > MAX_VALUES:
            raise _refused(f"`<<` makes more than {MAX_VALUES} keys", node.start_mark)

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        """The plain value of a node."""
        self.lines[path] = node.start_mark.line + 1
        if len(self.lines) > MAX_VALUES or len(path) > MAX_DEPTH:
            bounds = f"more than {MAX_VALUES} values or {MAX_DEPTH} levels"
            raise _refused(f"{bounds}, counting every use of an alias", node.start_mark)
        if node.tag.startswith("tag:yaml.org,2002:python/"):  # would run or import code
            raise _refused(f"the tag {node.tag} is not allowed", node.start_mark)
        tag = node.tag[1:] if node.tag.startswith("!") else None
        value: Any = node.value
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            value = [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
        else:
            is_text = tag is not None or bool(path) and path[0] in self.text_keys
            value = self._scalar(node, path, is_text)
        if tag is None:
            return value
        if value != "" and not isinstance(value, dict):
            found = f"!{tag} with {type(value).__name__} content"
            raise _unusable(node, path, found, f"a mapping, as in !{tag} {{key: value}}")
        return Tagged(tag, value or {})

    def _scalar(self, node: yaml.Node, path: KeyPath, is_text: bool) -> Any:
        is_integer = node.tag == _INTEGER
        allowed = (
            "an integer of at most 64 bits" if is_integer else f"a value of the tag {node.tag}"
        )
        try:
            node.value.encode()
            value = node.value if is_text else self.construct_object(node)
            if not isinstance(value, int) or abs(value) < 2**63:
                return value
        except UnicodeEncodeError:  # half of a surrogate pair, which no file can hold
            allowed = "text of whole characters"
        except (ValueError, KeyError, AttributeError):  # PyYAML's, for `!!int x` and `!!bool x`
            pass
        raise _unusable(node, path, node.value, allowed)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[Any, Any]:
        self._note_doubles(node, path)
        self.flatten_mapping(node)  # resolves `<<: *anchor`
        result = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _unusable(key_node, path, "a key that is a list or a mapping", "text")
            # `on`, `yes` and `1.0` are text too
            is_text = key_node.tag != _INTEGER
            key = self._scalar(key_node, (*path, key_node.value), is_text)
            result[key] = self.build(value_node, (*path, key))
            self.lines[(*path, key)] = key_node.start_mark.line + 1
        return result

    def _note_doubles(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first_seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in first_seen and isinstance(key_node, yaml.ScalarNode) and key != "<<":
                self.notes.append(
                    f"{self.source}:{line}: {dotted((*path, key))} stands here and in line "
                    f"{first_seen[key]}; the later one is used"
                )
            first_seen[key] = line


EXPONENT = (
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*)(?:\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)
"""Tag, pattern and first letters of the numbers that YAML 1.1 takes for text, such as 1e-3."""

_Loader.add_implicit_resolver(*EXPONENT)


def dotted(path: KeyPath) -> str:
    """A path as people write it, also in overrides: `TrainReader.batch_size`."""
    return ".".join(str(part) for part in path) or "(top level)"
