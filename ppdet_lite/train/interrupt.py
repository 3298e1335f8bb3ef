"""Ctrl-C (and a scheduler's SIGTERM) at moments that leave nothing half-done.

The first signal is held back until the running step is complete; a second one ends the step at
once. Outside a step a signal acts immediately, unless several processes train together: then all
must agree, which they do at the end of a step.
"""

import contextlib
import os
import signal
import threading

import paddle
from paddle import distributed


class Interrupts:
    """Signal handling of one run; use as a context around the loop.

    Args:
        world_size: number of processes that train together.

    Attributes:
        forced: a second signal cut a step short, so the state is not worth saving.
    """

    def __init__(self, world_size: int = 1):
        self.world_size = world_size
        self.forced = False
        self._pending = False
        self._held = False
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @property
    def asked(self) -> bool:
        """Whether this process was asked to stop, in a step or outside of one."""
        return self._pending

    def _on_signal(self, number, _frame):
        if self._held or self.world_size > 1:
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
    def step(self):
        """Context of one step, of training for instance; raises KeyboardInterrupt at its end if
        asked to stop."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._agreed():
            raise KeyboardInterrupt

    def _agreed(self) -> bool:
        """Whether any process was asked to stop."""
        if self.world_size == 1:
            return self._pending
        flag = paddle.to_tensor([int(self._pending)], dtype="int32")
        distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
        return bool(flag.item())
