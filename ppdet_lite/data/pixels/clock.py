"""The seam for whoever wants to know how long the steps of a reader take."""

import contextlib
from typing import Any, ContextManager, Protocol

_NOTHING = contextlib.nullcontext()


class Clock(Protocol):
    """Called when a step begins; what it returns is entered then, and left when the step ends.

    Steps are the entries of the transform lists by class name, and `decode` (of the file `path`),
    `render`, `thumbnail` (for the mean gray of contrast, inside `render`), `stack`, `normalize`,
    `finish`, and `batch` around all that a worker does for a batch.
    """

    def __call__(self, step: str, path: str = "") -> ContextManager[Any]: ...


def no_clock(step: str, path: str = "") -> ContextManager[Any]:
    """The `Clock` of a reader that nobody watches."""
    return _NOTHING
