"""Type annotations as checks of configuration values."""

import collections.abc as abc
import functools
import inspect
import sys
import typing
from typing import Annotated, Any, Callable, Literal, NamedTuple, Union, get_args, get_origin

from ppdet_lite.core.errors import ConfigError

Constructor = typing.TypeVar("Constructor", bound=Callable[..., None])

_SEQUENCES = (list, tuple, abc.Sequence, abc.Iterable, abc.Collection)
_PLAIN: dict[type, tuple[Any, str]] = {  # the type of values, and its name in messages
    int: (int, "an integer"),
    float: ((int, float), "a number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
    dict: (dict, "a mapping"),
    type(None): (type(None), "null"),
}


class Rule(NamedTuple):
    """In `Annotated[float, Rule(test, "0 to 1")]`: values of the type must pass the test."""

    test: Callable[[Any], bool]
    allowed: str


Probability = Annotated[float, Rule(lambda value: 0 <= value <= 1, "0 to 1")]
Positive = Annotated[float, Rule(lambda value: value > 0, "a number above 0")]
Count = Annotated[int, Rule(lambda value: value > 0, "1 or more")]
Whole = Annotated[int, Rule(lambda value: value >= 0, "0 or more")]


def checked(init: Constructor) -> Constructor:
    """Decorator of a constructor: arguments that do not fit their annotations are a ConfigError."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def checked_init(*args: Any, **kwargs: Any) -> None:
        annotations, problems = annotations_of(init), []
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            value = value.tolist() if hasattr(value, "tolist") else value  # of numpy
            if not matches(value, annotations.get(name, Any)):
                allowed = describe(annotations[name])
                problems.append(f"{name}: found {shown(value)}, allowed: {allowed}")
        if problems:
            raise ConfigError(problems)
        init(*args, **kwargs)

    return typing.cast(Constructor, checked_init)


def annotations_of(init: Callable[..., Any]) -> dict[str, Any]:
    """Parameter -> annotation of a constructor; empty where they cannot be evaluated, as in a
    user's class that is annotated with names known only to type checkers.
    """
    try:
        return typing.get_type_hints(init, include_extras=True)
    except (NameError, TypeError):
        return {}


def matches(value: Any, annotation: Any) -> bool:
    """True if a YAML value fits the annotation; classes other than plain data take anything."""
    kind, options = _parts(annotation)
    if kind is Annotated:
        return matches(value, options[0]) and all(rule.test(value) for rule in options[1:])
    if kind is Union:
        return any(matches(value, option) for option in options)
    if kind is Literal:
        return any(value == option and type(value) is type(option) for option in options)
    if kind in _SEQUENCES:
        if not isinstance(value, (list, tuple)):
            return False
        return len(options) != 1 or all(matches(element, options[0]) for element in value)
    if kind in _PLAIN:
        is_bool = isinstance(value, bool)  # which is an int for Python
        if kind is float and isinstance(value, (int, float)):
            return not is_bool and abs(value) <= sys.float_info.max  # neither NaN nor infinite
        return isinstance(value, _PLAIN[kind][0]) and (kind is bool or not is_bool)
    return True


def describe(annotation: Any) -> str:
    """An annotation in words, for `allowed: ...`."""
    kind, options = _parts(annotation)
    if kind is Annotated:
        return str(options[-1].allowed)
    if kind is Union:
        return " or ".join(map(describe, options))
    if kind is Literal:
        names = (str(o).lower() if isinstance(o, bool) else repr(o) for o in options)
        return " or ".join(names)
    if kind in _SEQUENCES:
        is_uniform = len(options) == 1 and options[0] is not Any
        return f"a list, each element {describe(options[0])}" if is_uniform else "a list"
    return _PLAIN[kind][1] if kind in _PLAIN else getattr(kind, "__name__", str(kind))


def classes_in(annotation: Any) -> list[type]:
    """The classes that an annotation names, also inside Optional, Union and list."""
    inside = get_args(annotation)
    if inside:
        return [cls for part in inside for cls in classes_in(part)]
    return [annotation] if isinstance(annotation, type) else []


def found(value: Any) -> str:
    """A value with its type in words, for `found ...`."""
    names: dict[type, str] = {type(None): "null", str: "text", list: "list"}
    kind = "mapping" if isinstance(value, dict) else names.get(type(value), type(value).__name__)
    return f"found {shown(value)} ({kind})"


def shown(value: Any) -> str:
    """`repr` of a value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:160]}... ({len(text)} characters)"


def _parts(annotation: Any) -> tuple[Any, list[Any]]:
    """`Optional[int]` -> Union, [int, NoneType]; `tuple[int, ...]` -> tuple, [int]."""
    options = [option for option in get_args(annotation) if option is not Ellipsis]
    return get_origin(annotation) or annotation, options
