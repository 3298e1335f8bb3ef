"""Checks a whole configuration against the registered classes and reports every problem in one
error.
"""

import importlib
import importlib.util
import sys
import typing
from pathlib import Path
from typing import Any, Literal, Optional, Union

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.settings import SETTINGS, UNUSED_KEYS
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.workspace import (
    is_component_spec,
    parameters_of,
    registered,
    split_spec,
    takes_anything,
)
from ppdet_lite.core.yaml import Tagged, dotted

_PACKAGE = __name__.partition(".")[0] + "."


def validate_config(cfg: Config, earlier_problems: Optional[list] = None) -> None:
    """Fills in the defaults of the runtime keys and checks every key and value.

    Args:
        cfg: the configuration; gets defaults, and its `unused` list.
        earlier_problems: problems found while reading, reported together with those found here.

    Raises:
        ConfigError: one line per problem: origin, dotted key, found, allowed, nearest name.
    """
    checker = _Checker(cfg, list(earlier_problems or []))
    _import_custom_modules(cfg, checker.problems)
    for key, value in cfg.items():
        checker.check_top_level(key, value)
    if checker.problems:
        raise ConfigError(checker.problems)
    for key, setting in SETTINGS.items():
        if not setting.metadata["class_default"]:
            cfg.setdefault(key, setting.default)


def _import_custom_modules(cfg: Config, problems: list) -> None:
    modules = cfg.settings.custom_modules or []
    for index, name in enumerate([modules] if isinstance(modules, str) else modules):
        where = f"{cfg.origin('custom_modules', index)}: custom_modules.{index}"
        try:
            if str(name).endswith(".py"):
                _import_file(Path(str(name)).expanduser(), cfg)
            else:
                importlib.import_module(str(name))
        except FileNotFoundError as error:
            problems.append(f"{where}: found '{name}', but there is no file {error}")
        except ConfigError as error:
            problems.extend(f"{where}: {problem}" for problem in error.problems)
        except (ImportError, SyntaxError) as error:
            problems.append(f"{where}: found '{name}', which cannot be imported: {error}")


def _import_file(path: Path, cfg: Config) -> None:
    """Imports a user's Python file; a relative path counts from the folder of the config, then from
    here.
    """
    folders = ([Path(cfg.path).parent] if cfg.path else []) + [Path()]
    found = [folder / path for folder in folders if (folder / path).is_file()]
    if not found:
        raise FileNotFoundError(folders[0] / path)
    name = f"ppdet_lite_custom_{found[0].resolve().as_posix().replace('/', '_')}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, found[0])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


class _Checker:
    def __init__(self, cfg: Config, problems: list):
        self.cfg = cfg
        self.problems = problems
        self.classes = registered()

    def report(self, path: tuple, text: str) -> None:
        self.problems.append(f"{self.cfg.origin(*path)}: {dotted(path)}: {text}")

    def check_top_level(self, key: str, value: Any) -> None:
        if key in self.classes:
            self.check_section(self.classes[key], value, (key,))
        elif key in SETTINGS:
            if self.check_type(value, SETTINGS[key].type, (key,)):
                self.check_range(key, value)
                self.check_nested(value, (key,))
                if key == "architecture":
                    self.check_class_name(value, (key,))
        elif key in UNUSED_KEYS:
            self.cfg.unused.append(key)
        else:
            known = [*self.classes, *SETTINGS]
            kind = "section" if str(key)[:1].isupper() else "key"
            hint = nearest_hint(key, known)
            allowed = "the registered classes and the keys listed by --print-config"
            self.report((key,), f"unknown {kind}{hint}; allowed: {allowed}")

    def check_section(self, cls: type, value: Any, path: tuple) -> None:
        """Checks the arguments of a class."""
        if value is None:
            return
        if isinstance(value, Tagged):
            self.check_spec(value, path)
            return
        if not isinstance(value, dict):
            allowed = f"a mapping with keys of {cls.__name__}"
            self.report(path, f"found {value!r} ({_kind(value)}), allowed: {allowed}")
            return
        self.check_arguments(cls, value, path)

    def check_arguments(self, cls: type, arguments: dict, path: tuple) -> None:
        parameters = parameters_of(cls)
        annotations = _annotations(cls)
        for key, value in arguments.items():
            here = (*path, key)
            if key in getattr(cls, "__unused__", ()):
                self.cfg.unused.append(dotted(here))
            elif key not in parameters:
                if not takes_anything(cls):
                    allowed = ", ".join(sorted(parameters)) or "no keys"
                    hint = nearest_hint(str(key), parameters)
                    self.report(here, f"unknown key of {cls.__name__}{hint}; allowed: {allowed}")
            elif key in getattr(cls, "__inject__", ()):
                self.check_injected(value, annotations.get(key, Any), here)
            elif self.check_type(value, annotations.get(key, Any), here):
                self.check_nested(value, here, annotations.get(key, Any))

    def check_injected(self, value: Any, annotation: Any, path: tuple) -> None:
        if isinstance(value, str):
            if self.check_class_name(value, path):
                self.check_kind(value, annotation, path)
        elif isinstance(value, dict):
            if is_component_spec(value):
                self.check_spec(value, path, annotation)
            else:
                allowed = "a class name, {name: Class, ...} or !Class {...}"
                self.report(path, f"found {value!r}, allowed: {allowed}")
        elif value is not None:
            self.report(path, f"found {value!r} ({_kind(value)}), allowed: a class name")

    def check_class_name(self, name: str, path: tuple) -> bool:
        section = self.cfg.get(name)
        if name in self.classes or (isinstance(section, dict) and is_component_spec(section)):
            return True
        hint = nearest_hint(name, self.classes)
        self.report(path, f"found '{name}', which is not a registered class{hint}")
        return False

    def check_kind(self, name: str, annotation: Any, path: tuple) -> bool:
        """Whether the class may stand where an argument with this annotation is expected.

        Only this package's classes are judged: one of the user's own works by what it does, and
        need not derive from anything.
        """
        wanted = _classes_in(annotation)
        fitting = [n for n, cls in self.classes.items() if any(c in cls.__mro__ for c in wanted)]
        is_own = not getattr(self.classes.get(name), "__module__", "").startswith(_PACKAGE)
        if is_own or not fitting or name in fitting:
            return True
        allowed = ", ".join(sorted(fitting))
        self.report(path, f"found '{name}', allowed here: {allowed}, or a class of your own")
        return False

    def check_spec(self, spec: dict, path: tuple, annotation: Any = Any) -> None:
        name, arguments, deeper = split_spec(spec)
        here = (*path, *deeper)
        is_known = self.check_class_name(name, here) and name in self.classes
        if is_known and self.check_kind(name, annotation, here):
            self.check_arguments(self.classes[name], arguments, here)

    def check_nested(self, value: Any, path: tuple, annotation: Any = Any) -> None:
        """Checks class specs inside plain values: data set sections and lists of transforms."""
        if isinstance(value, dict) and is_component_spec(value):
            self.check_spec(value, path, annotation)
        elif isinstance(value, list):
            for index, element in enumerate(value):
                if isinstance(element, dict) and is_component_spec(element):
                    self.check_spec(element, (*path, index), annotation)

    def check_range(self, key: str, value: Any) -> None:
        low, high = (SETTINGS[key].metadata[bound] for bound in ("low", "high"))
        if value is None:
            return
        if (low is not None and value < low) or (high is not None and value > high):
            allowed = f"{low} or more" if high is None else f"{low} to {high}"
            self.report((key,), f"found {value!r}, allowed: {allowed}")

    def check_type(self, value: Any, annotation: Any, path: tuple) -> bool:
        if matches(value, annotation):
            return True
        found = f"found {value!r} ({_kind(value)})"
        self.report(path, f"{found}, allowed: {describe(annotation)}")
        return False


def _annotations(cls: type) -> dict:
    try:
        return typing.get_type_hints(cls.__init__)
    except (
        NameError,
        TypeError,
    ):  # a user's own class may be annotated with names known only to type checkers
        return {}


def _classes_in(annotation: Any) -> list:
    """The classes that a type annotation names, also inside Optional, Union and list."""
    inside = typing.get_args(annotation)
    if inside:
        return [cls for part in inside for cls in _classes_in(part)]
    return [annotation] if isinstance(annotation, type) else []


def matches(value: Any, annotation: Any) -> bool:
    """Whether a YAML value fits a type annotation; classes other than plain data take anything."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return True
    if annotation is None or annotation is type(None):
        return value is None
    if origin is Union:
        return any(matches(value, option) for option in arguments)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in arguments)
    if annotation is bool:
        return isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is str:
        return isinstance(value, str)
    container = origin or annotation
    if isinstance(container, type) and issubclass(container, dict):
        return isinstance(value, dict)
    if _is_sequence(container):
        elements = [option for option in arguments if option is not Ellipsis]
        if not isinstance(value, (list, tuple)):
            return False
        return len(elements) != 1 or all(matches(element, elements[0]) for element in value)
    return True


def _is_sequence(container: Any) -> bool:
    import collections.abc as abc

    sequences = (list, tuple, abc.Sequence, abc.Iterable, abc.Collection)
    return container in sequences


_NAMES = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
}


def describe(annotation: Any) -> str:
    """A type annotation in words, for `allowed: ...`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "null"
    if origin is Union:
        return " or ".join(describe(option) for option in arguments)
    if origin is Literal:
        return " or ".join(repr(option) for option in arguments)
    if _is_sequence(origin or annotation):
        elements = [describe(option) for option in arguments if option is not Ellipsis]
        return f"a list of {elements[0]}" if len(elements) == 1 else "a list"
    if origin is dict:
        return "a mapping"
    return _NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "mapping"
    return {type(None): "null", str: "text", list: "list"}.get(type(value), type(value).__name__)
