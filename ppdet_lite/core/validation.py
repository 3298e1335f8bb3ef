"""Checks a whole configuration against the registered classes, and finds every problem at once."""

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from ppdet_lite.core.annotations import annotations_of, classes_in, describe, found, matches, shown
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import Spec, parse_spec, registered, unknown_key
from ppdet_lite.core.settings import SETTINGS, ExportSettings, RuntimeSettings
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.yaml import KeyPath, Tagged, dotted

_PACKAGE = __name__.partition(".")[0] + "."


def problems_of(cfg: Config) -> list[str]:
    """Imports the custom modules of a configuration and checks every key and value of it.

    Keys without effect are entered in `cfg.unused`.

    Returns:
        One line per problem: origin, dotted key, what was found and what is allowed.
    """
    problems = _import_custom_modules(cfg)
    checker = _Checker(cfg, problems)
    for key, value in cfg.items():
        checker.check_top_level(key, value)
    return problems


def _import_custom_modules(cfg: Config) -> list[str]:
    problems = []
    modules = cfg.get("custom_modules") or []
    modules = [modules] if isinstance(modules, str) else modules
    if not matches(modules, list[str]):
        return []  # found with the other settings
    for index, name in enumerate(modules):
        where = f"{cfg.origin('custom_modules', index)}: custom_modules.{index}"
        try:
            if name.endswith(".py"):
                _import_file(Path(os.path.expanduser(name)), cfg)
            else:
                importlib.import_module(name)
        except FileNotFoundError as error:
            problems.append(f"{where}: found {shown(name)}, but there is no file {error}")
        except ConfigError as error:
            problems.extend(f"{where}: {problem}" for problem in error.problems)
        except (Exception, SystemExit) as error:  # the module's own, of any kind
            frame = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            if not isinstance(error, SyntaxError):  # which names its line
                reason += f" ({frame.filename}:{frame.lineno})"
            problems.append(f"{where}: found {shown(name)}, which cannot be imported: {reason}")
    return problems


def _import_file(path: Path, cfg: Config) -> None:
    """Imports a user's Python file; a relative path counts from the folder of the config, then from
    here.
    """
    folders = ([cfg.path.parent] if cfg.path else []) + [Path()]
    files = [folder / path for folder in folders if os.path.isfile(folder / path)]
    if not files:
        raise FileNotFoundError(folders[0] / path)
    name = f"ppdet_lite_custom_{files[0].resolve().as_posix().replace('/', '_')}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, files[0])
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


class _Checker:
    """Collects the problems of one configuration."""

    def __init__(self, cfg: Config, problems: list[str]):
        self.cfg = cfg
        self.problems = problems
        self.classes = registered()

    def report(self, path: KeyPath, text: str) -> None:
        self.problems.append(f"{self.cfg.origin(*path)}: {dotted(path)}: {text}")

    def check_top_level(self, key: str, value: Any) -> None:
        if key in self.classes:
            self.check_section(self.classes[key], value, (key,))
        elif key in {*SETTINGS, *RuntimeSettings.__unused__, *RuntimeSettings.__refused__}:
            self.check_arguments(RuntimeSettings, {key: value}, ())
            if key == "architecture" and isinstance(value, str):
                self.check_class_name(value, (key,))
            elif key == "export":
                self.check_section(ExportSettings, value, (key,))
        else:
            hint = nearest_hint(key, [*self.classes, *SETTINGS])
            kind = "section" if str(key)[:1].isupper() else "key"
            allowed = "a registered class or a setting of ppdet_lite/core/settings.py"
            self.report((key,), f"unknown {kind}{hint}; allowed: {allowed}")

    def check_section(self, cls: type, value: Any, path: KeyPath) -> None:
        """Checks the arguments of a class."""
        if isinstance(value, Tagged):
            self.check_spec(Spec(value.tag, value, ()), Any, path)
        elif isinstance(value, dict):
            self.check_arguments(cls, value, path)
        elif value is not None:
            self.report(path, f"{found(value)}, allowed: a mapping with keys of {cls.__name__}")

    def check_arguments(self, cls: type, arguments: dict[str, Any], path: KeyPath) -> None:
        annotations = annotations_of(cls.__init__)  # type: ignore[misc]
        for key, value in arguments.items():
            here, annotation = (*path, key), annotations.get(key, Any)
            refused = getattr(cls, "__refused__", {})
            if key in refused and value:
                self.report(here, f"{found(value)}, allowed: false; instead: {refused[key]}")
            elif key in getattr(cls, "__unused__", ()) or key in refused:
                self.cfg.unused.append(dotted(here))
            elif unknown := unknown_key(cls, str(key)):
                self.report(here, unknown)
            elif key in getattr(cls, "__inject__", ()):
                self.check_injected(value, annotation, here)
            elif not matches(value, annotation):
                self.report(here, f"{found(value)}, allowed: {describe(annotation)}")
            else:
                self.check_nested(value, annotation, here)

    def check_injected(self, value: Any, annotation: Any, path: KeyPath) -> None:
        if spec := Spec(value, {}, ()) if isinstance(value, str) else parse_spec(value):
            self.check_spec(spec, annotation, path)
        elif value is not None:
            allowed = "a class name, {name: Class, ...} or !Class {...}"
            self.report(path, f"{found(value)}, allowed: {allowed}")

    def check_nested(self, value: Any, annotation: Any, path: KeyPath) -> None:
        """Checks classes inside plain values: data set sections and lists of transforms."""
        elements = enumerate(value) if isinstance(value, list) else ()
        for here, part in [(path, value), *(((*path, i), element) for i, element in elements)]:
            if spec := parse_spec(part):
                self.check_spec(spec, annotation, here)

    def check_spec(self, spec: Spec, annotation: Any, path: KeyPath) -> None:
        here = (*path, *spec.path)
        is_known = self.check_class_name(spec.name, here) and spec.name in self.classes
        if is_known and self.check_kind(spec.name, annotation, here):
            self.check_arguments(self.classes[spec.name], spec.arguments, here)

    def check_class_name(self, name: str, path: KeyPath) -> bool:
        if name in self.classes or parse_spec(self.cfg.get(name)):
            return True
        hint = nearest_hint(name, self.classes)
        self.report(path, f"found {shown(name)}, which is not a registered class{hint}")
        return False

    def check_kind(self, name: str, annotation: Any, path: KeyPath) -> bool:
        """True if the class may stand where an argument with this annotation is expected.

        Only this package's classes are judged: one of the user's own works by what it does, and
        need not derive from anything.
        """
        wanted = classes_in(annotation)
        fitting = [n for n, cls in self.classes.items() if any(c in cls.__mro__ for c in wanted)]
        is_own = not self.classes[name].__module__.startswith(_PACKAGE)
        if is_own or not fitting or name in fitting:
            return True
        allowed = ", ".join(sorted(fitting))
        self.report(path, f"found '{name}', allowed here: {allowed}, or a class of your own")
        return False
