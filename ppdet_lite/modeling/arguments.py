"""Types of constructor arguments with limits, and checks of arguments that depend on others."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Optional, Union

from ppdet_lite.core.annotations import Positive, Rule, shown
from ppdet_lite.core.errors import ConfigError

# The upper limits are far above any network; beyond them memory or time runs out.
Classes = Annotated[int, Rule(lambda n: 1 <= n <= 100_000, "1 to 100000")]
Repeats = Annotated[int, Rule(lambda n: 1 <= n <= 100, "1 to 100")]
Channels = Annotated[int, Rule(lambda n: 1 <= n <= 16384, "1 to 16384")]
Multiple = Annotated[float, Rule(lambda x: 0 < x <= 16, "a number above 0, at most 16")]
Odd = Annotated[int, Rule(lambda n: n > 0 and n % 2 == 1, "an odd number above 0")]
Kept = Annotated[float, Rule(lambda x: 0 < x <= 1, "above 0, at most 1")]
Limit = Annotated[int, Rule(lambda n: n >= 1 or n == -1, "1 or more, or -1 for no limit")]
PerLevel = Union[Positive, Sequence[Positive]]
"""A number for all levels, or one for each."""
Layout = Literal["NCHW"]
NormType = Literal["bn", "sync_bn", "cmbn"]
"""All build the ordinary layer; the trainer makes a whole model synchronize its norms, or gather
their statistics over the micro batches of a step.
"""
Act = Optional[Literal["relu", "relu6", "leaky", "mish", "silu", "swish", "hardswish", "linear"]]
"""Name of an activation; None for none."""

Check = tuple[str, Any, bool, str]
"""Name of an argument, its value, True if the value is valid, and the allowed values."""


def check_arguments(*checks: Check) -> None:
    """Raises a `ConfigError` with one line per failed check."""
    problems = [
        f"{name}: found {shown(v)}, allowed: {text}" for name, v, valid, text in checks if not valid
    ]
    if problems:
        raise ConfigError(problems)


def rising(name: str, indices: Sequence[int], first: int, last: int) -> Check:
    """Checks that `indices` is not empty, strictly rising and within `first` to `last`."""
    found = list(indices)
    valid = bool(found) and found == sorted(set(found)) and first <= found[0] <= found[-1] <= last
    return name, found, valid, f"numbers {first} to {last}, rising, without repeats"
