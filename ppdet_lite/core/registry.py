"""The classes that configurations may name.

A class takes part by `@register`. Its constructor is explicit, so it also works without any
configuration. Five optional class attributes say how the configuration fills that constructor:

* `__shared__ = ("num_classes",)`: parameters read from the top level of the config when the section
  is silent;
* `__inject__ = ("loss",)`: parameters whose value names another registered class, which is created
  and handed in;
* `__unused__ = ("trt",)`: keys of PaddleDetection's files that have no effect here; they are
  accepted, and named once;
* `__checked__ = True`: arguments that do not fit the annotations of the constructor are a
  ConfigError also when the class is made by hand;
* `from_config(cls, section, **context)`: a class method that returns constructor arguments which
  depend on other parts, for instance the channels of the backbone. `section` is the class's own
  section, `section.config` the whole.

The registry holds classes only, never values: two models from two configs live side by side in one
process.
"""

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any, NamedTuple, Optional, TypeVar

from ppdet_lite.core.annotations import checked
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.yaml import KeyPath, Tagged

_REGISTRY: dict[str, type] = {}

Class = TypeVar("Class", bound=type)


def register(cls: Class) -> Class:
    """Class decorator: makes `cls` known to configurations under its own name.

    Raises:
        ConfigError: another class already has the name.
    """
    known = _REGISTRY.setdefault(cls.__name__, cls)
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        both = f"{known.__module__} and {cls.__module__}"
        text = f"two classes are registered as '{cls.__name__}': {both}"
        raise ConfigError(f"{text}; rename one and use its new name in the config")
    _REGISTRY[cls.__name__] = cls
    init = cls.__init__  # type: ignore[misc]
    if getattr(cls, "__checked__", False) and init is not object.__init__:
        cls.__init__ = checked(init)  # type: ignore[misc]
    return cls


def serializable(cls: Class) -> Class:
    """Class decorator kept for files written for PaddleDetection: returns the class as it is."""
    return cls


def registered() -> dict[str, type]:
    """Name -> class of everything registered; imports all component modules the first time."""
    _import_components()
    return _REGISTRY


@cache
def _import_components() -> None:
    """Imports the modules that register classes: a new file needs no list to be entered in."""
    for room in ("modeling", "data", "metrics", "train"):
        package = f"ppdet_lite.{room}"
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, package + "."):
            importlib.import_module(module.name)


def get_class(name: str) -> type:
    """The registered class `name`.

    Raises:
        ConfigError: there is none; the nearest name is suggested.
    """
    classes = registered()
    if name not in classes:
        raise ConfigError(f"no class '{name}' is registered{nearest_hint(name, classes)}")
    return classes[name]


def parameters_of(cls: type) -> dict[str, inspect.Parameter]:
    """Name -> parameter of the constructor, without self."""
    return dict(inspect.signature(cls).parameters)


def unknown_key(cls: type, key: str) -> Optional[str]:
    """Message about an argument that the constructor does not take; None if it does."""
    parameters = parameters_of(cls)
    if key in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    allowed = ", ".join(sorted(parameters)) or "no keys"
    return f"unknown key of {cls.__name__}{nearest_hint(key, parameters)}; allowed: {allowed}"


class Spec(NamedTuple):
    """A class that a configuration names, its arguments, and the path from there to these."""

    name: str
    arguments: dict[str, Any]
    path: KeyPath


def parse_spec(value: Any) -> Optional[Spec]:
    """Class named by `!Name {...}`, `{name: Name, ...}` or `{Name: {...}}`; None otherwise."""
    if isinstance(value, Tagged):
        return Spec(value.tag, dict(value), ())
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("name"), str):
        arguments = {key: argument for key, argument in value.items() if key != "name"}
        return Spec(value["name"], arguments, ())
    if len(value) == 1:
        ((name, arguments),) = value.items()
        if isinstance(name, str) and name[:1].isupper() and isinstance(arguments or {}, dict):
            return Spec(name, dict(arguments or {}), (name,))
    return None
