"""Registered classes and how a configuration puts them together.

A class takes part by `@register`. Its constructor is explicit, so it also works without any
configuration. Three optional class attributes say how the configuration fills that constructor:

* `__shared__ = ("num_classes",)`: parameters read from the top level of the config when the section
  is silent;
* `__inject__ = ("loss",)`: parameters whose value names another registered class, which is created
  and handed in;
* `from_config(cls, section, **context)`: a class method that returns constructor arguments which
  depend on other parts, for instance the channels of the backbone. `section` is the class's own
  section, `section.config` the whole.

The registry holds classes only, never values: two models from two configs live side by side in one
process.
"""

import importlib
import inspect
import pkgutil
from typing import Any, NamedTuple, Optional

from ppdet_lite.core.config import Config, load_config, merge_config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.yaml import Tagged

__all__ = [
    "Config",
    "create",
    "create_list",
    "get_class",
    "load_config",
    "merge_config",
    "register",
    "serializable",
]

_COMPONENT_PACKAGES = tuple(
    f"ppdet_lite.{name}" for name in ("modeling", "data", "metrics", "train")
)
_REGISTRY = {}
_discovered = []


class Section(dict):
    """The section of one class, with the whole configuration in `config`."""

    def __init__(self, values: dict, config: Config):
        super().__init__(values)
        self.config = config


class Component(NamedTuple):
    """A class to build with the arguments that the configuration gives, and where they stand."""

    cls: type
    arguments: dict
    path: tuple


def register(cls: type) -> type:
    """Class decorator: makes `cls` known to configurations under its own name.

    Raises:
        ConfigError: another class already has the name.
    """
    known = _REGISTRY.get(cls.__name__)
    if known is not None and (known.__module__, known.__qualname__) != (
        cls.__module__,
        cls.__qualname__,
    ):
        raise ConfigError(
            f"two classes are registered as '{cls.__name__}': {known.__module__} and "
            f"{cls.__module__}; rename one and use its new name in the config"
        )
    _REGISTRY[cls.__name__] = cls
    return cls


def serializable(cls: type) -> type:
    """Class decorator kept from PaddleDetection: every `!Name` node is data here, so it only
    returns the class.
    """
    return cls


def registered() -> dict:
    """Name -> class of everything registered; imports all component modules the first time."""
    if not _discovered:
        _discovered.append(True)
        try:
            for package in _COMPONENT_PACKAGES:
                _import_below(package)
        except BaseException:
            _discovered.clear()
            raise
    return _REGISTRY


def _import_below(package: str) -> None:
    """Imports every module of a package, which registers its classes: a new file needs no list to
    be entered in.
    """
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


def parameters_of(cls: type) -> dict:
    """Name -> `inspect.Parameter` of the constructor, without self."""
    if cls.__init__ is object.__init__:
        return {}
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {p.name: p for p in parameters}


def takes_anything(cls: type) -> bool:
    """Whether the constructor has `**kwargs`, as a user's own class may."""
    return any(p.kind is p.VAR_KEYWORD for p in parameters_of(cls).values())


def is_component_spec(value: Any) -> bool:
    """Whether a list element names a class: `!Name {}`, `{name: Name, ...}` or `{Name: {...}}`."""
    if isinstance(value, Tagged):
        return True
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("name"), str):
        return True
    if len(value) != 1:
        return False
    (key, arguments), *_ = value.items()
    is_class_name = isinstance(key, str) and key[:1].isupper()
    return is_class_name and (arguments is None or isinstance(arguments, dict))


def split_spec(spec: dict) -> tuple:
    """Class name, arguments and the path from the spec to its arguments."""
    if isinstance(spec, Tagged):
        return spec.tag, dict(spec), ()
    if isinstance(spec.get("name"), str):
        return spec["name"], {key: value for key, value in spec.items() if key != "name"}, ()
    (name, arguments), *_ = spec.items()
    return name, dict(arguments or {}), (name,)


def resolve(spec: Any, cfg: Config, path: tuple = ()) -> Component:
    """Finds the class and the arguments that `spec` stands for.

    Args:
        spec: a class, a class name, a section name (`TrainDataset`), `{name: Class, ...}`, `{Class:
            {...}}` or a `!Class {...}` node.
        cfg: the configuration.
        path: where the spec stands in the configuration, for messages.
    """
    if isinstance(spec, type):
        return Component(spec, dict(cfg.get(spec.__name__) or {}), (spec.__name__,))
    if isinstance(spec, dict):
        if not is_component_spec(spec):
            raise ConfigError(
                f"{cfg.origin(*path)}: found {spec!r}, allowed: a class name, "
                "{name: Class, ...}, {Class: {...}} or !Class {...}"
            )
        name, arguments, deeper = split_spec(spec)
        return Component(get_class(name), {**(cfg.get(name) or {}), **arguments}, (*path, *deeper))
    if not isinstance(spec, str):
        raise ConfigError(f"{cfg.origin(*path)}: found {spec!r}, allowed: a class name")
    section = cfg.get(spec)
    if isinstance(section, dict) and spec not in registered() and is_component_spec(section):
        return resolve(section, cfg, (spec,))
    if section is not None and not isinstance(section, dict):
        raise ConfigError(f"{cfg.origin(spec)}: {spec}: found {section!r}, allowed: a mapping")
    place = (spec,) if section is not None else (*path, spec)
    return Component(get_class(spec), dict(section or {}), place)


def create(spec: Any, cfg: Optional[Config] = None, **context: Any) -> Any:
    """Builds what a configuration describes.

    Args:
        spec: see `resolve`; usually `cfg.architecture` or `"TrainReader"`.
        cfg: the configuration; None stands for an empty one.
        **context: facts known only while building (`input_shape=...`): handed to `from_config` and,
            where the constructor has such a parameter, to the constructor.

    Returns:
        The object.

    Raises:
        ConfigError: unknown class or argument, missing argument, or what the constructor itself
            refuses.
    """
    return _build(spec, Config() if cfg is None else cfg, (), context)


def create_list(specs: Optional[list], cfg: Optional[Config], path: tuple) -> list:
    """Builds the parts that a list of the configuration describes.

    Args:
        specs: what `create` takes, or objects, which stay as they are; None stands for no list.
        cfg: the configuration; None stands for an empty one.
        path: where the list stands in it, so that messages can name the element:
            `("TrainReader", "sample_transforms")`.

    Raises:
        ConfigError: as `create`.
    """
    cfg = Config() if cfg is None else cfg
    return [
        _build(spec, cfg, (*path, index), {}) if isinstance(spec, (str, dict)) else spec
        for index, spec in enumerate(specs or [])
    ]


def _build(spec: Any, cfg: Config, path: tuple, context: dict) -> Any:
    """See `create`; `path` is where `spec` stands in the configuration, () when nobody knows."""
    cls, arguments, path = resolve(spec, cfg, path)
    try:
        ready = _constructor_arguments(cls, arguments, cfg, path, context)
        _check_arguments(cls, ready)
        return cls(**ready)
    except ConfigError as error:
        if getattr(error, "located", False):
            raise
        label = ".".join(str(p) for p in path) or cls.__name__
        located = ConfigError(
            [
                f"{_origin_of(problem, cls, cfg, path)}: {label}: {problem}"
                for problem in error.problems
            ]
        )
        located.located = True
        raise located from error


def _origin_of(problem: str, cls: type, cfg: Config, path: tuple):
    """Where the argument comes from that a constructor's complaint begins with: from the place of
    the part, its class's own section, or the top level; else where the part stands. A dotted key
    leads further into an argument.
    """
    name = problem.partition(":")[0]
    if "." in name:
        inner = (int(part) if part.isdecimal() else part for part in name.split("."))
        return cfg.origin(*path, *inner)
    places = [(*path, name), (cls.__name__, name)]
    if name in getattr(cls, "__shared__", ()):
        places.append((name,))
    return cfg.origin(*next((place for place in places if place in cfg.origins), path))


def _constructor_arguments(
    cls: type, arguments: dict, cfg: Config, path: tuple, context: dict
) -> dict:
    parameters = parameters_of(cls)
    arguments = {k: v for k, v in arguments.items() if k not in getattr(cls, "__unused__", ())}
    for name in getattr(cls, "__shared__", ()):
        if name not in arguments and name in cfg:
            arguments[name] = cfg[name]
    settled = {key: value for key, value in context.items() if key in parameters}
    if hasattr(cls, "from_config"):
        settled.update(_call_from_config(cls, Section(arguments, cfg), context))
    elif set(context) - set(parameters):
        extra = ", ".join(sorted(set(context) - set(parameters)))
        raise TypeError(f"{cls.__name__} takes no argument {extra}")
    for name in getattr(cls, "__inject__", ()):
        if name in settled:
            continue
        value = arguments.get(name, parameters[name].default if name in parameters else None)
        if isinstance(value, (str, dict)):
            settled[name] = _build(value, cfg, (*path, name), {})
    return {**arguments, **settled}


def _call_from_config(cls: type, section: Section, context: dict) -> dict:
    accepted = inspect.signature(cls.from_config).parameters.values()
    missing = [
        p.name
        for p in list(accepted)[1:]
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and p.name not in context
    ]
    if missing:
        raise ConfigError(
            f"{cls.__name__} cannot stand where the config puts it: there is no "
            f"{', '.join(missing)} for it there"
        )
    if not any(p.kind is p.VAR_KEYWORD for p in accepted):
        names = {p.name for p in accepted}
        context = {key: value for key, value in context.items() if key in names}
    return cls.from_config(section, **context)


def _check_arguments(cls: type, arguments: dict) -> None:
    parameters = parameters_of(cls)
    problems = []
    for name in arguments:
        if name not in parameters and not takes_anything(cls):
            allowed = ", ".join(sorted(parameters)) or "none"
            hint = nearest_hint(name, parameters)
            problems.append(f"{name}: unknown key of {cls.__name__}{hint}; allowed: {allowed}")
    for name, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )
        if required and name not in arguments:
            problems.append(f"{name}: missing; {cls.__name__} has no default for it")
    if problems:
        raise ConfigError(problems)


def parameter_in_force(cfg: Config, class_name: str, parameter: str) -> Any:
    """See `Config.value_of`."""
    cls, arguments, path = resolve(class_name, cfg)
    if parameter in arguments:
        return arguments[parameter]
    if parameter in getattr(cls, "__shared__", ()) and parameter in cfg:
        return cfg[parameter]
    parameters = parameters_of(cls)
    if parameter not in parameters:
        raise ConfigError(
            f"{cls.__name__} has no parameter '{parameter}'{nearest_hint(parameter, parameters)}"
        )
    default = parameters[parameter].default
    if default is inspect.Parameter.empty:
        raise ConfigError(
            f"{cfg.origin(*path)}: {class_name}.{parameter}: missing; it has no default"
        )
    return default
