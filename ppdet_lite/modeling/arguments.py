"""Checks of constructor arguments; all problems are reported together."""

from collections.abc import Sequence
from typing import Any

from ppdet_lite.core.errors import ConfigError

Check = tuple[str, Any, bool, str]
"""Name of an argument, its value, True if the value is valid, and the allowed values."""


def check_arguments(*checks: Check) -> None:
    """Raises a `ConfigError` with one line per failed check."""
    problems = [
        f"{name}: found {_as_yaml(value)}, allowed: {allowed}"
        for name, value, valid, allowed in checks
        if not valid
    ]
    if problems:
        raise ConfigError(problems)


def _as_yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(list(value) if isinstance(value, tuple) else value)


def one_of(name: str, value: Any, choices: Sequence) -> Check:
    return name, value, value in choices, ", ".join(map(str, choices))


def above_zero(name: str, value: float) -> Check:
    return name, value, value > 0, "a number above 0"


def between(name: str, value: float, low: float, high: float) -> Check:
    """Checks `low` <= `value` <= `high`."""
    return name, value, low <= value <= high, f"{low} to {high}"


def at_least(name: str, value: float, low: float) -> Check:
    return name, value, value >= low, f"{low} or more"


def rising(name: str, indices: Sequence[int], first: int, last: int) -> Check:
    """Checks that `indices` is not empty, strictly rising and within `first` to `last`."""
    found = list(indices)
    valid = bool(found) and found == sorted(set(found)) and first <= found[0] <= found[-1] <= last
    return name, found, valid, f"numbers {first} to {last}, rising, without repeats"


def nchw(data_format: str) -> Check:
    """Checks the data layout: every layer of this package expects NCHW."""
    return one_of("data_format", data_format, ["NCHW"])
