"""Several processes that serve the same socket."""

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
"""Where more processes end by themselves in such a time, none is started for a while."""

POLL_SECONDS = 0.2


class Workers:
    """Keeps `count` processes running until SIGTERM or Ctrl-C, which stop them in good order; a
    second Ctrl-C stops them at once.

    Where processes end again and again, as when the files of the model have gone, those that work
    go on, and others are tried once in a while.

    Args:
        work, arguments: run in each process, which has to end after SIGTERM by itself.
        grace_s: seconds that it has for that.
    """

    def __init__(
        self, count: int, work: Callable[..., None], arguments: tuple[Any, ...], grace_s: float
    ):
        self._count, self._work, self._arguments = count, work, arguments
        self._grace_s = grace_s
        self._started: dict[SpawnProcess, float] = {}
        self._ended: deque[float] = deque(maxlen=MOST_ENDED + 1)
        self._signal = 0

    def run(self) -> None:
        """Returns after SIGTERM.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            UserError: all processes end by themselves, one after the other.
        """
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._stop) for number in signals}
        try:
            while not self._signal:
                self._note_ended()
                if not self._end_too_often():
                    self._start_missing()
                wait([process.sentinel for process in self._started], POLL_SECONDS)
        finally:
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt

    def _stop(self, number: int, _frame: object) -> None:
        if number == self._signal == signal.SIGINT:
            for process in self._started:
                process.kill()
        self._signal = number

    def _note_ended(self) -> None:
        for process in [one for one in self._started if not one.is_alive()]:
            del self._started[process]
            self._ended.append(time.monotonic())
            text = f"a process ended with exit code {process.exitcode}"
            if not self._end_too_often():
                text += "; another one takes its place"
            elif not any(start < self._ended[0] for start in self._started.values()):
                raise UserError(f"{text}, as {MOST_ENDED} others did in the last minute")
            else:
                seconds = self._ended[0] + PERIOD_SECONDS - time.monotonic()
                text += f", as {MOST_ENDED} others did; {len(self._started)} are left, and another "
                text += f"one is tried in {seconds:.0f} s"
            print(f"warning: {text}", file=sys.stderr, flush=True)

    def _end_too_often(self) -> bool:
        """True if MOST_ENDED and one more ended in the last PERIOD_SECONDS."""
        is_full = len(self._ended) > MOST_ENDED
        return is_full and time.monotonic() - self._ended[0] < PERIOD_SECONDS

    def _start_missing(self) -> None:
        while len(self._started) < self._count:
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=_run, args=(self._work, *self._arguments))
            process.start()
            self._started[process] = time.monotonic()

    def _end_all(self) -> None:
        deadline = time.monotonic() + self._grace_s
        for process in self._started:
            process.terminate()  # SIGTERM
        for process in self._started:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _run(work: Callable[..., None], *arguments: Any) -> None:
    """Runs in the process; ends it when its parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(*arguments)
    except UserError as error:
        print("error:", str(error).replace("`", ""), file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # the parent tells it
        pass


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
