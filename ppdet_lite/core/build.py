"""Builds the objects that a configuration describes; `core/registry.py` says from what."""

import inspect
from typing import Any, Iterable, NamedTuple, Optional

from ppdet_lite.core.annotations import shown
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import get_class, parameters_of, parse_spec, registered, unknown_key
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.yaml import KeyPath, Origin, dotted

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Section(dict[str, Any]):
    """The section of one class, with the whole configuration in `config`."""

    def __init__(self, values: dict[str, Any], config: Config):
        super().__init__(values)
        self.config = config


class Component(NamedTuple):
    """A class to build with the arguments that the configuration gives, and where they stand."""

    cls: type
    arguments: dict[str, Any]
    path: KeyPath


class _LocatedError(ConfigError):
    """Problems that name their place in the configuration already."""


def create(spec: Any, cfg: Optional[Config] = None, **context: Any) -> Any:
    """Builds what a configuration describes.

    Args:
        spec: see `resolve`; usually `cfg.architecture` or `"TrainReader"`.
        **context: facts known only while building (`input_shape=...`): handed to `from_config` and,
            where the constructor has such a parameter, to the constructor.

    Raises:
        ConfigError: an unknown class or argument, a missing one, or one that the class refuses.
    """
    return _build(spec, Config() if cfg is None else cfg, (), context)


def create_list(specs: Optional[Iterable[Any]], cfg: Optional[Config], path: KeyPath) -> list[Any]:
    """Builds the parts that a list of the configuration at `path` describes, as `create` does;
    objects stay as they are.
    """
    cfg = Config() if cfg is None else cfg
    return [
        _build(spec, cfg, (*path, index), {}) if isinstance(spec, (str, dict)) else spec
        for index, spec in enumerate(specs or [])
    ]


def resolve(spec: Any, cfg: Config, path: KeyPath = ()) -> Component:
    """Finds the class and the arguments that `spec` stands for.

    Args:
        spec: a class, a class name, a section name (`TrainDataset`), `{name: Class, ...}`, `{Class:
            {...}}` or a `!Class {...}` node.
        path: its place in the configuration, for messages.

    Raises:
        ConfigError: there is no such class, or it is none of these.
    """
    if isinstance(spec, type):
        return Component(spec, dict(cfg.get(spec.__name__) or {}), (spec.__name__,))
    if parsed := parse_spec(spec):
        arguments = {**(cfg.get(parsed.name) or {}), **parsed.arguments}
        return Component(get_class(parsed.name), arguments, (*path, *parsed.path))
    if not isinstance(spec, str):
        allowed = "a class name, {name: Class, ...}, {Class: {...}} or !Class {...}"
        where = f"{cfg.origin(*path)}: {dotted(path)}" if path else cfg.origin()
        raise ConfigError(f"{where}: found {shown(spec)}, allowed: {allowed}")
    section = cfg.get(spec)
    if spec not in registered() and parse_spec(section):
        return resolve(section, cfg, (spec,))
    if section is not None and not isinstance(section, dict):
        raise ConfigError(f"{cfg.origin(spec)}: {spec}: found {section!r}, allowed: a mapping")
    place = (spec,) if section is not None else (*path, spec)
    return Component(get_class(spec), dict(section or {}), place)


def value_of(cfg: Config, class_name: str, parameter: str) -> Any:
    """The value that a parameter of a registered class has under this configuration: that of its
    section, of the shared key, or the default. Without any of them it is a ConfigError.
    """
    cls, arguments, path = resolve(class_name, cfg)
    parameters = parameters_of(cls)
    given = _with_shared(cls, arguments, cfg)
    if parameter in given:
        return given[parameter]
    if parameter not in parameters:
        hint = nearest_hint(parameter, parameters)
        raise ConfigError(f"{cls.__name__} has no parameter '{parameter}'{hint}")
    if parameters[parameter].default is inspect.Parameter.empty:
        key = f"{class_name}.{parameter}"
        raise ConfigError(f"{cfg.origin(*path)}: {key}: missing; it has no default")
    return parameters[parameter].default


def _build(spec: Any, cfg: Config, path: KeyPath, context: dict[str, Any]) -> Any:
    """See `create`; `path` is where `spec` stands in the configuration, () when nobody knows."""
    cls, arguments, path = resolve(spec, cfg, path)
    try:
        ready = _constructor_arguments(cls, arguments, cfg, path, context)
        _check_arguments(cls, ready)
        return cls(**ready)
    except _LocatedError:
        raise
    except ConfigError as error:
        label = dotted(path) if path else cls.__name__
        raise _LocatedError(
            f"{_origin_of(problem, cls, cfg, path)}: {label}: {problem}"
            for problem in error.problems
        ) from error


def _origin_of(problem: str, cls: type, cfg: Config, path: KeyPath) -> Origin:
    """Origin of the argument (or the dotted key inside it) that a constructor's complaint begins
    with, else of the part itself.
    """
    name = problem.partition(":")[0]
    if "." in name:
        return cfg.origin(*path, *(int(p) if p.isdecimal() else p for p in name.split(".")))
    places: list[KeyPath] = [(*path, name), (cls.__name__, name)]
    if name in getattr(cls, "__shared__", ()):
        places.append((name,))
    return cfg.origin(*next((place for place in places if place in cfg.origins), path))


def _with_shared(cls: type, arguments: dict[str, Any], cfg: Config) -> dict[str, Any]:
    shared = {name: cfg[name] for name in getattr(cls, "__shared__", ()) if name in cfg}
    return {**shared, **arguments}


def _constructor_arguments(
    cls: type, arguments: dict[str, Any], cfg: Config, path: KeyPath, context: dict[str, Any]
) -> dict[str, Any]:
    parameters = parameters_of(cls)
    arguments = {k: v for k, v in arguments.items() if k not in getattr(cls, "__unused__", ())}
    arguments = _with_shared(cls, arguments, cfg)
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


def _call_from_config(cls: Any, section: Section, context: dict[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(cls.from_config)
    if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        context = {key: value for key, value in context.items() if key in signature.parameters}
    try:
        signature.bind(section, **context)
    except TypeError as error:  # for instance "missing a required argument: 'input_shape'"
        text = f"{cls.__name__} cannot stand where the config puts it: {error}"
        raise ConfigError(text) from error
    arguments: dict[str, Any] = cls.from_config(section, **context)
    return arguments


def _check_arguments(cls: type, arguments: dict[str, Any]) -> None:
    problems = [f"{name}: {text}" for name in arguments if (text := unknown_key(cls, name))]
    problems += [
        f"{name}: missing; {cls.__name__} has no default for it"
        for name, p in parameters_of(cls).items()
        if p.default is p.empty and p.kind not in _VARIADIC and name not in arguments
    ]
    if problems:
        raise ConfigError(problems)
