"""A configuration is a value: a dict read from YAML files and overrides, with the origin of every
key.

Rules of merging: the files of `_BASE_` in their order, then the file itself, then the overrides in
theirs. Dicts merge key by key, everything else is replaced whole. A section that changes its class
(another `name:`, `type:` or `!Tag`) is replaced, because the arguments of one class mean nothing to
another.
"""

import os
import re
from copy import deepcopy
from pathlib import Path
from typing import Any, Mapping, Optional, Union

from ppdet_lite.core import yaml
from ppdet_lite.core.annotations import shown
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.settings import RuntimeSettings
from ppdet_lite.core.shipped import find_shipped, nearest_names
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.yaml import KeyPath, Origin, Tagged, YamlDocument, dotted

BASE_KEY = "_BASE_"
Origins = dict[KeyPath, Origin]
_MAX_BASES = 100


class Config(dict[str, Any]):
    """The resolved configuration; `cfg.num_classes` and `cfg["num_classes"]` are the same.

    Attributes:
        path: the file it was read from, None for one built in Python.
        origins: where every value comes from.
        notes: remarks about the files (for instance a key given twice).
        unused: dotted keys that are understood but have no effect here.
    """

    path: Optional[Path]
    origins: Origins
    notes: list[str]
    unused: list[str]

    def __init__(self, values: Optional[Mapping[str, Any]] = None, path: Optional[Path] = None):
        super().__init__(values or {})
        # attributes beside the dict, which pickle and deepcopy treat as such
        self.__dict__.update(path=path, origins={}, notes=[], unused=[])

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            hint = nearest_hint(key, self)
            raise AttributeError(f"the configuration has no key '{key}'{hint}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    @property
    def name(self) -> str:
        """The file stem, which names the output folder."""
        return self.path.stem if self.path else "config"

    @property
    def output_folder(self) -> str:
        """`save_dir`/<name>; a `~` is the home folder, which shells leave alone after `key=`."""
        return os.path.join(os.path.expanduser(self.settings.save_dir), self.name)

    @property
    def settings(self) -> RuntimeSettings:
        """The settings of a run as they are now, with the defaults of those that are not given."""
        return RuntimeSettings.of(self)

    def origin(self, *path: Union[str, int]) -> Origin:
        """Origin of the value at `path`, or of the nearest section around it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return Origin(str(self.path) if self.path else "config")


def read_config(path: Path) -> Config:
    """Reads a file and its bases, unchecked. A shipped configuration may be given by its name, as a
    base as well; a file of that name goes first.

    Raises:
        ConfigError: a file is missing or is not YAML, or bases lead back to themselves.
    """
    place = os.path.expanduser(path)
    if not os.path.exists(place) or os.path.isdir(place):
        path = find_shipped(path) or path
    cfg = Config(path=path)
    _merge_file(cfg, path, (), {}, [])
    return cfg


def merge_config(cfg: Config, other: dict[str, Any], source: str = "merge_config") -> Config:
    """A new configuration: `cfg` with the dict `other` merged over it. `cfg` stays as it is."""
    result = deepcopy(cfg)
    _merge(result, deepcopy(dict(other)), (), result.origins, _all_from(Origin(source), other))
    return result


def _merge_file(
    cfg: Config,
    path: Path,
    chain: tuple[Path, ...],
    read: dict[Path, YamlDocument],
    merged: list[Path],
) -> None:
    """Merges a file after its bases.

    Args:
        chain: the files that led here.
        read: the files read before; each is read once, however many others name it.
        merged: the files merged before, as often as they were.
    """
    path = Path(os.path.expanduser(path))
    resolved = Path(os.path.realpath(path))
    if resolved in chain:
        loop = " -> ".join(str(p) for p in (*chain[chain.index(resolved) :], resolved))
        raise ConfigError(f"{path}: {BASE_KEY} leads back to itself: {loop}")
    if resolved not in read:
        if not os.path.exists(path):
            raise ConfigError(f"no such config file: {path}{_what_is_near(path)}")
        read[resolved] = yaml.read_yaml(path)
    document = read[resolved]
    values = {} if document.value is None else deepcopy(document.value)
    if not isinstance(values, dict) or isinstance(values, Tagged):
        raise ConfigError(
            f"{path}: found {type(values).__name__} at the top level, allowed: 'key: value' lines"
        )
    bases = values.pop(BASE_KEY, None) or []
    bases = [bases] if isinstance(bases, str) else bases
    where = f"{path}:{document.lines.get((BASE_KEY,))}: {BASE_KEY}"
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{where}: found {shown(bases)}, allowed: a list of files")
    merged.append(path)
    if len(bases) + len(merged) > _MAX_BASES:
        raise ConfigError(
            f"{where}: found more than {_MAX_BASES} bases, those of bases counted, allowed: fewer"
        )
    for base in bases:
        base_path = Path(os.path.normpath(path.parent / os.path.expanduser(base)))
        if not os.path.isfile(base_path):
            base_path = find_shipped(base) or base_path
        if not os.path.isfile(base_path):
            raise ConfigError(
                f"{where}: found {shown(base)}, but there is no file {shown(str(base_path))}"
                f"{_nearest_file(base_path) or (nearest_names(base) if '/' not in base else '')}"
            )
        _merge_file(cfg, base_path, (*chain, resolved), read, merged)
    origins = {key: Origin(str(path), line) for key, line in document.lines.items()}
    _merge(cfg, values, (), cfg.origins, origins)
    cfg.notes.extend(note for note in document.notes if note not in cfg.notes)


def _what_is_near(path: Path) -> str:
    """The end of the message about a file that is missing."""
    if len(path.parts) > 1:
        return _nearest_file(path)
    hint = _nearest_file(path) or nearest_names(path.name)
    return f", and none of that name is shipped ('ppdet models' lists them){hint}"


def _nearest_file(path: Path) -> str:
    if not os.path.isdir(path.parent):
        return f" (there is no folder {shown(str(path.parent))} either)"
    return nearest_hint(path.name, os.listdir(path.parent)) if len(path.name) < 256 else ""


def class_of(section: Any) -> Optional[str]:
    """The class that a section names by `!Tag`, `name:` or `type:`; None if it names none."""
    if isinstance(section, Tagged):
        return section.tag
    if not isinstance(section, dict):
        return None
    name = section.get("name", section.get("type"))  # `type` in optimizer and regularizer
    return name if isinstance(name, str) else None


def _merge(
    target: dict[str, Any],
    other: dict[str, Any],
    path: KeyPath,
    origins: Origins,
    other_origins: Origins,
) -> None:
    for key, value in other.items():
        here = (*path, key)
        old = target.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not isinstance(value, Tagged):
            classes = {class_of(old), class_of(value)} - {None}
            if len(classes) < 2:
                if here in other_origins:
                    origins.setdefault(here, other_origins[here])
                _merge(old, value, here, origins, other_origins)
                continue
        for stale in [p for p in origins if p[: len(here)] == here]:
            del origins[stale]
        origins.update({p: o for p, o in other_origins.items() if p[: len(here)] == here})
        target[key] = value


def _all_from(origin: Origin, value: Any, path: KeyPath = ()) -> Origins:
    """`origin` for `value`, which stands at `path`, and for everything in it."""
    origins = {path: origin}
    if isinstance(value, (dict, list)):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            origins.update(_all_from(origin, child, (*path, key)))
    return origins


def override(cfg: Config, assignment: str) -> None:
    """Sets one value, in place.

    Args:
        assignment: `TrainReader.batch_size=4`, the value in YAML; elements of lists by number or
            class name.

    Raises:
        ConfigError: it is not of that form, or leads to nothing that can be set.
    """
    key, equals, text = assignment.partition("=")
    short = assignment if len(assignment) <= 100 else f"{assignment[:80]}..."
    origin = Origin(f"-o {short}")
    if not equals or not key.strip():
        raise ConfigError(
            f"{origin}: found no KEY=VALUE, allowed: for instance TrainReader.batch_size=4"
        )
    value = yaml.parse_yaml(text, str(origin)).value
    *sections, last = key.strip().split(".")
    container: Any = cfg
    path: KeyPath = ()
    for part in sections:
        container, path = _find(container, path, part, origin)
        if isinstance(container, dict):
            container.setdefault(path[-1])
        if container[path[-1]] is None:
            container[path[-1]] = {}
        container = container[path[-1]]
        if not isinstance(container, (dict, list)):
            raise ConfigError(
                f"{origin}: {dotted(path)}: found {shown(container)} there, which has no keys "
                "below it"
            )
    container, path = _find(container, path, last, origin)
    name: Any = path[-1]
    holder = container if isinstance(container, dict) else {}  # an element is replaced whole
    _merge(holder, {name: value}, path[:-1], cfg.origins, _all_from(origin, value, path))
    container[name] = holder[name]


def value_at(cfg: Config, key: str) -> Any:
    """The value under a dotted key, as `override` understands it; a ConfigError without one."""
    container: Any = cfg
    path: KeyPath = ()
    for part in key.split("."):
        origin = cfg.origin(*path)
        if not isinstance(container, (dict, list)):
            text = f"found {shown(container)} there, which has no keys below it"
            raise ConfigError(f"{origin}: {dotted(path)}: {text}")
        container, path = _find(container, path, part, origin)
        if isinstance(container, dict) and path[-1] not in container:
            hint = nearest_hint(str(path[-1]), map(str, container))
            raise ConfigError(f"{origin}: {dotted(path)}: found no such key{hint}")
        container = container[path[-1]]
    return container


def _find(container: Any, path: KeyPath, part: str, origin: Origin) -> tuple[Any, KeyPath]:
    """The dict or list that holds what `part` of a dotted key means, and the path of that.

    In a list `part` is a number, or the class name of an element. `sample_transforms.Mixup.alpha`
    steps over the number and into {Mixup: {...}}.
    """
    if not isinstance(container, list):
        return container, (*path, part)
    index = _list_index(container, path, part, origin)
    element = container[index]
    if isinstance(element, dict) and not isinstance(element, Tagged) and part in element:
        return element, (*path, index, part)
    return container, (*path, index)


def _list_index(container: list[Any], path: KeyPath, part: str, origin: Origin) -> int:
    if re.fullmatch("-?[0-9]{1,9}", part):
        index = int(part)
        if -len(container) <= index < len(container):
            return index % len(container)
        raise ConfigError(
            f"{origin}: {dotted(path)}: found index {part}, allowed: 0 to {len(container) - 1}"
        )
    names = [_element_name(element) for element in container]
    if names.count(part) == 1:
        return names.index(part)
    allowed = ", ".join(f"{i} ({name})" if name else str(i) for i, name in enumerate(names))
    hint = nearest_hint(part, [name for name in names if name])
    raise ConfigError(f"{origin}: {dotted(path)}: found {shown(part)}, allowed: {allowed}{hint}")


def _element_name(element: Any) -> Optional[str]:
    name = class_of(element)
    if name is None and isinstance(element, dict) and len(element) == 1:
        name = next(iter(element))
    return name
