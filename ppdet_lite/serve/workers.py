"""Several processes that serve the same socket."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any, Callable

from ppdet_lite.core.errors import UserError

MOST_ENDED, PERIOD_SECONDS = 5, 60.0
"""Where more processes end by themselves in such a time, the server gives up."""

POLL_SECONDS = 0.2


class Workers:
    """Keeps `count` processes running until SIGTERM or Ctrl-C, which stop them in good order.

    Args:
        work, arguments: run in each process, which has to end after SIGTERM by itself.
        grace_s: seconds that it has for that.
    """

    def __init__(
        self, count: int, work: Callable[..., None], arguments: tuple[Any, ...], grace_s: float
    ):
        self._count, self._work, self._arguments = count, work, arguments
        self._grace_s = grace_s
        self._processes: list[SpawnProcess] = []
        self._ended: deque[float] = deque(maxlen=MOST_ENDED)
        self._signal = 0

    def run(self) -> None:
        """Returns after SIGTERM.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            UserError: the processes end by themselves, one after the other.
        """
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._stop) for number in signals}
        try:
            while not self._signal:
                self._replace_ended()
                wait([process.sentinel for process in self._processes], POLL_SECONDS)
        finally:
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt

    def _stop(self, number: int, _frame: object) -> None:
        self._signal = number

    def _replace_ended(self) -> None:
        for process in [one for one in self._processes if not one.is_alive()]:
            self._processes.remove(process)
            now, text = time.monotonic(), f"a process ended with exit code {process.exitcode}"
            if len(self._ended) == MOST_ENDED and now - self._ended[0] < PERIOD_SECONDS:
                raise UserError(f"{text}, as {MOST_ENDED} others did in the last minute")
            self._ended.append(now)
            print(f"warning: {text}; another one takes its place", file=sys.stderr, flush=True)
        while len(self._processes) < self._count:
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=_run, args=(self._work, *self._arguments))
            process.start()
            self._processes.append(process)

    def _end_all(self) -> None:
        deadline = time.monotonic() + self._grace_s
        for process in self._processes:
            process.terminate()  # SIGTERM
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _run(work: Callable[..., None], *arguments: Any) -> None:
    """Runs in the process; ends it when its parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):  # the parent tells it
        work(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
