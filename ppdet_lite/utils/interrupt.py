"""Ctrl-C (and a scheduler's SIGTERM) at moments that leave nothing half-done.

The first signal is held back until the running step is complete; Ctrl-C again ends the step at
once. Outside a step a signal acts immediately, unless several processes work together: then all
must agree, which they do at the end of a step. While the work is stopping, and its state being
saved, the next signal is only announced, and the one after it ends the process.
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
            from a process that was asked to stop, returns True to all if one of them was.

    Attributes:
        forced: Ctrl-C cut a step short, so the state is not worth saving.
    """

    def __init__(self, agree: Optional[Callable[[bool], bool]] = None):
        self._agree = agree
        self.forced = self._pending = self._held = self._stopping = self._warned = False
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

    def begin_saving(self) -> None:
        """Tells that the work ended otherwise and its state is being saved, as after a signal."""
        self._stopping = True

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._stopping and self._agree is not None and number != signal.SIGINT:
            return  # launchers of several processes repeat SIGTERM
        if self._stopping and not self._warned:
            self._warned = True
            _say(b"Still stopping (once more: at once; what is being saved is lost)")
        elif self._stopping:
            raise KeyboardInterrupt
        elif not (self._held or self._agree is not None):
            self._pending = True  # for the next step, if a library drops the exception
            self._stop()
        elif not self._pending:
            self._pending = True
            _say(b"Stopping after this step (Ctrl-C again: at once)")
        elif number == signal.SIGINT:
            self.forced = self._warned = True
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
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
            self._stop()


def _say(text: bytes) -> None:
    """Not through the logger: the signal may have come in the middle of a line of its."""
    os.write(2, b"\n" + text + b"\n")
