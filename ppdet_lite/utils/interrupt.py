"""Ctrl-C (and a scheduler's SIGTERM) at moments that leave nothing half-done.

The first signal is held back until the running step is complete; a second one ends the step at
once. Outside a step a signal acts immediately, unless several processes work together: then all
must agree, which they do at the end of a step.
"""

import contextlib
import os
import signal
import threading
from typing import Any, Callable, Iterator, Optional


class Interrupts:
    """Signal handling of one run; use as a context around the loop.

    Args:
        agree: for several processes, each of which calls it at the end of every step: takes True
            from a process that was asked to stop, returns True to all if one of them was. None for
            a process that works alone.

    Attributes:
        forced: a second signal cut a step short, so the state is not worth saving.
    """

    def __init__(self, agree: Optional[Callable[[bool], bool]] = None):
        self.forced = False
        self._agree = agree
        self._pending = False
        self._held = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @property
    def asked(self) -> bool:
        """True once this process was asked to stop, in a step or outside of one."""
        return self._pending

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._held or self._agree is not None:
            if self._pending and number == signal.SIGINT:
                self.forced = True
                raise KeyboardInterrupt
            if not self._pending:
                # Not through the logger: the signal may have come in the middle of a line of its.
                os.write(2, b"\nStopping after this step (Ctrl-C again: at once)\n")
            self._pending = True
            return
        self._pending = True  # for the next step, if a library drops the exception
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Context of one step, of training for instance; raises KeyboardInterrupt at its end if
        asked to stop."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._agree(self._pending) if self._agree is not None else self._pending:
            raise KeyboardInterrupt
