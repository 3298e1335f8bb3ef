"""A configuration is a value: a dict read from YAML files and `-o` overrides, with the origin of
every key.

Rules of merging: the files of `_BASE_` in their order, then the file itself, then the overrides in
theirs. Dicts merge key by key, everything else is replaced whole. A section that changes its class
(another `name:`, `type:` or `!Tag`) is replaced, because the arguments of one class mean nothing to
another.
"""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any, Iterable, Optional, Union

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.settings import RuntimeSettings
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.yaml import Origin, Tagged, dotted, parse_yaml

BASE_KEY = "_BASE_"


class Config(dict):
    """The resolved configuration; `cfg.num_classes` and `cfg["num_classes"]` are the same.

    Attributes:
        path: the file it was read from, None for one built in Python.
        origins: dict of path tuple -> Origin for every value.
        notes: remarks about the files (for instance a key given twice).
        unused: dotted keys that are understood but have no effect here.
    """

    def __init__(self, values: Optional[dict] = None, path: Optional[Path] = None):
        super().__init__(values or {})
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "origins", {})
        object.__setattr__(self, "notes", [])
        object.__setattr__(self, "unused", [])

    def __getattr__(self, key: str):
        try:
            return self[key]
        except KeyError:
            hint = nearest_hint(key, self)
            raise AttributeError(f"the configuration has no key '{key}'{hint}") from None

    def __setattr__(self, key: str, value) -> None:
        self[key] = value

    def __deepcopy__(self, memo) -> "Config":
        twin = Config({key: deepcopy(value, memo) for key, value in self.items()}, self.path)
        twin.origins.update(self.origins)
        twin.notes.extend(self.notes)
        twin.unused.extend(self.unused)
        return twin

    def __reduce__(self):
        return _rebuild, (dict(self), self.path, self.origins, self.notes, self.unused)

    @property
    def name(self) -> str:
        """The file stem, which names the output folder."""
        return Path(self.path).stem if self.path else "config"

    @property
    def settings(self) -> RuntimeSettings:
        """The settings of a run as they are now, with the defaults of those that are not given."""
        return RuntimeSettings.of(self)

    def origin(self, *path) -> Origin:
        """Where the value at `path` comes from; the nearest enclosing section when it has no entry
        itself.
        """
        for end in range(len(path), 0, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return Origin(str(self.path) if self.path else "config")

    def value_of(self, class_name: str, parameter: str) -> Any:
        """The value in force of a registered class's parameter: its section, the shared key, or the
        default.

        Raises:
            ConfigError: no such class or parameter, or it has neither value nor default.
        """
        from ppdet_lite.core.workspace import parameter_in_force

        return parameter_in_force(self, class_name, parameter)


def _rebuild(values, path, origins, notes, unused) -> Config:
    cfg = Config(values, path)
    cfg.origins.update(origins)
    cfg.notes.extend(notes)
    cfg.unused.extend(unused)
    return cfg


def load_config(
    path: Union[str, os.PathLike], overrides: Iterable[str] = (), validate: bool = True
) -> Config:
    """Reads a YAML file with its bases and overrides, and checks every key of the result.

    Args:
        path: the YAML file.
        overrides: `["TrainReader.batch_size=4", ...]`, values in YAML; list elements by number or
            class name.
        validate: False skips the check against the registered classes (and so the import of
            paddle).

    Raises:
        ConfigError: with every problem found, each with file, line, key, what was found and what is
            allowed.
    """
    cfg = read_config(Path(path))
    problems = []
    for override in overrides:
        try:
            _apply_override(cfg, override)
        except ConfigError as error:
            problems.extend(error.problems)
    if validate:
        from ppdet_lite.core.validation import validate_config

        validate_config(cfg, problems)
    elif problems:
        raise ConfigError(problems)
    return cfg


def read_config(path: Path) -> Config:
    """Reads a file and its bases, unchecked."""
    cfg = Config(path=path)
    _merge_file(cfg, path, chain=())
    return cfg


def merge_config(cfg: Config, other: dict, source: str = "merge_config") -> Config:
    """A new configuration: `cfg` with the dict `other` merged over it. `cfg` stays as it is."""
    result = deepcopy(cfg)
    origins = {}
    _collect_paths(other, (), Origin(source), origins)
    _merge(result, deepcopy(dict(other)), (), result.origins, origins)
    return result


def _merge_file(cfg: Config, path: Path, chain: tuple) -> None:
    resolved = path.expanduser().resolve()
    if resolved in chain:
        loop = " -> ".join(str(p) for p in (*chain[chain.index(resolved) :], resolved))
        raise ConfigError(f"{path}: {BASE_KEY} leads back to itself: {loop}")
    document = parse_yaml(_read_text(path, chain), str(path))
    values = {} if document.value is None else document.value
    if not isinstance(values, dict) or isinstance(values, Tagged):
        raise ConfigError(
            f"{path}: found {type(values).__name__} at the top level, allowed: 'key: value' lines"
        )
    bases = values.pop(BASE_KEY, None) or []
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        line = document.lines[(BASE_KEY,)]
        raise ConfigError(f"{path}:{line}: {BASE_KEY}: found {bases!r}, allowed: a list of files")
    for base in bases:
        base_path = Path(os.path.normpath(path.parent / Path(base).expanduser()))
        if not base_path.is_file():
            raise ConfigError(
                f"{path}:{document.lines[(BASE_KEY,)]}: {BASE_KEY}: found '{base}', but there is "
                f"no file {base_path}{_nearest_file(base_path)}"
            )
        _merge_file(cfg, base_path, (*chain, resolved))
    origins = {key: Origin(str(path), line) for key, line in document.lines.items()}
    _merge(cfg, values, (), cfg.origins, origins)
    cfg.notes.extend(document.notes)


def _read_text(path: Path, chain: tuple) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no such config file: {path}{_nearest_file(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (there is no folder {path.parent} either)"
    return nearest_hint(path.name, [entry.name for entry in path.parent.iterdir()])


def _class_of(section) -> Optional[str]:
    if isinstance(section, Tagged):
        return section.tag
    if not isinstance(section, dict):
        return None
    name = section.get("name", section.get("type"))  # `type` in optimizer and regularizer
    return name if isinstance(name, str) else None


def _merge(target: dict, other: dict, path: tuple, origins: dict, other_origins: dict) -> None:
    for key, value in other.items():
        here = (*path, key)
        old = target.get(key)
        both_dicts = isinstance(old, dict) and isinstance(value, dict)
        classes = (_class_of(old), _class_of(value)) if both_dicts else (None, None)
        keeps_class = None in classes or classes[0] == classes[1]
        if both_dicts and keeps_class and not isinstance(value, Tagged):
            if here in other_origins:
                origins.setdefault(here, other_origins[here])
            _merge(old, value, here, origins, other_origins)
            continue
        for stale in [p for p in origins if p[: len(here)] == here]:
            del origins[stale]
        origins.update({p: o for p, o in other_origins.items() if p[: len(here)] == here})
        target[key] = value


def _collect_paths(value, path: tuple, origin: Origin, into: dict) -> None:
    into[path] = origin
    if isinstance(value, dict):
        for key, child in value.items():
            _collect_paths(child, (*path, key), origin, into)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _collect_paths(child, (*path, index), origin, into)


def _apply_override(cfg: Config, override: str) -> None:
    key, equals, text = override.partition("=")
    source = f"-o {override}"
    if not equals or not key.strip():
        raise ConfigError(
            f"{source}: found no KEY=VALUE, allowed: for instance TrainReader.batch_size=4"
        )
    value = parse_yaml(text, source).value
    parts = key.strip().split(".")
    container, path = cfg, ()
    for part in parts[:-1]:
        container, path = _step_into(container, path, part, source)
    _set_item(cfg, container, path, parts[-1], value, Origin(source))


def _step_into(container, path: tuple, part: str, source: str):
    """One step of an `-o` key: into a dict (made when missing) or into a list element."""
    if isinstance(container, list):
        index = _list_index(container, path, part, source)
        element = container[index]
        named = isinstance(element, dict) and not isinstance(element, Tagged) and part in element
        if named:  # `sample_transforms.Mixup.alpha` steps over the number and into {Mixup: {...}}
            container, path, key = element, (*path, index), part
        else:
            key = index
    else:
        key = part
        if container.get(key) is None:
            container[key] = {}
    child = container[key]
    if child is None:
        child = container[key] = {}
    if not isinstance(child, (dict, list)):
        raise ConfigError(
            f"{source}: {dotted((*path, key))}: found {child!r} there, which has no keys below it"
        )
    return child, (*path, key)


def _list_index(container: list, path: tuple, part: str, source: str) -> int:
    if part.lstrip("-").isdigit():
        index = int(part)
        if -len(container) <= index < len(container):
            return index % len(container)
        raise ConfigError(
            f"{source}: {dotted(path)}: found index {part}, allowed: 0 to {len(container) - 1}"
        )
    names = [_element_name(element) for element in container]
    if names.count(part) == 1:
        return names.index(part)
    allowed = ", ".join(f"{i} ({name})" if name else str(i) for i, name in enumerate(names))
    hint = nearest_hint(part, [name for name in names if name])
    raise ConfigError(f"{source}: {dotted(path)}: found '{part}', allowed: {allowed}{hint}")


def _element_name(element) -> Optional[str]:
    name = _class_of(element)
    if name is None and isinstance(element, dict) and len(element) == 1:
        name = next(iter(element))
    return name


def _set_item(cfg: Config, container, path: tuple, part: str, value, origin: Origin) -> None:
    if isinstance(container, list):
        index = _list_index(container, path, part, origin.source)
        element = container[index]
        if isinstance(element, dict) and not isinstance(element, Tagged) and part in element:
            container, path, key = element, (*path, index), part
        else:
            path, key = (*path, index), None
            container[index] = value
    else:
        key = part
    new_origins = {}
    if key is None:
        _forget(cfg.origins, path)
        _collect_paths(value, path, origin, new_origins)
        cfg.origins.update(new_origins)
        return
    _collect_paths(value, (*path, key), origin, new_origins)
    _merge(container, {key: value}, path, cfg.origins, new_origins)


def _forget(origins: dict, path: tuple) -> None:
    for stale in [p for p in origins if p[: len(path)] == path]:
        del origins[stale]
