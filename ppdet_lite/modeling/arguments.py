"""Checks of the arguments of a part, all reported at once."""

from collections.abc import Sequence
from typing import Any

from ppdet_lite.core.errors import ConfigError

Check = tuple[str, Any, bool, str]
"""Name and value of an argument, True if it can be used, and what is allowed."""


def check_arguments(*checks: Check) -> None:
    """Refuses arguments that cannot be used.

    Raises:
        ConfigError: one line for each of them.
    """
    problems = [
        f"{name}: found {_as_in_yaml(value)}, allowed: {allowed}"
        for name, value, fits, allowed in checks
        if not fits
    ]
    if problems:
        raise ConfigError(problems)


def _as_in_yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(list(value) if isinstance(value, tuple) else value)


def one_of(name: str, value: Any, choices: Sequence) -> Check:
    """The check that `value` is one of `choices`."""
    return name, value, value in choices, ", ".join(map(str, choices))


def above_zero(name: str, value: float) -> Check:
    """The check that a factor is positive."""
    return name, value, value > 0, "a number above 0"


def between(name: str, value: float, low: float, high: float) -> Check:
    """The check that `low` <= `value` <= `high`."""
    return name, value, low <= value <= high, f"{low} to {high}"


def at_least(name: str, value: float, low: float) -> Check:
    """The check that `value` >= `low`."""
    return name, value, value >= low, f"{low} or more"


def rising(name: str, indices: Sequence[int], first: int, last: int) -> Check:
    """The check that `indices` choose maps of a backbone, finest first, each once."""
    found = list(indices)
    fits = bool(found) and found == sorted(set(found)) and first <= found[0] <= found[-1] <= last
    return name, found, fits, f"numbers {first} to {last}, rising, without repeats"


def nchw(data_format: str) -> Check:
    """The check that channels come first: no part of this package is written for another layout."""
    return one_of("data_format", data_format, ["NCHW"])
