"""Dynamic batches: images of any number of requests share the runs of the network."""

import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import Callable, NamedTuple

import numpy as np

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.engines.engine import Arrays

Run = Callable[[list[Arrays]], list[np.ndarray]]
"""Preprocessed images to the detections [M, 6] of each."""


class Found(NamedTuple):
    """Detections of one image, and the run that they are from.

    Attributes:
        rows: [M, 6] class, score, x1, y1, x2, y2.
        queue_s, network_s: seconds that the image waited, and that the run took.
        batch: images of the run.
    """

    rows: np.ndarray
    queue_s: float
    network_s: float
    batch: int


class _Waiting(NamedTuple):
    sample: Arrays
    future: "Future[Found]"
    since: float


class Batcher:
    """Runs images in batches, in a thread of its own, in the order in which they came.

    A run starts as soon as `max_batch` images of the size of the oldest one wait, or the oldest has
    waited for `max_wait_s`. Images whose network inputs differ in size are never in one run.

    Args:
        on_run: called after every run with its number of images and its seconds.
        on_failure: called after a run of one image alone has failed, with the error.
    """

    def __init__(
        self,
        run: Run,
        max_batch: int,
        max_wait_s: float,
        on_run: Callable[[int, float], None] = lambda images, seconds: None,
        on_failure: Callable[[Exception], None] = lambda error: None,
    ):
        self._run, self._max_batch, self._max_wait_s = run, max_batch, max_wait_s
        self._on_run, self._on_failure = on_run, on_failure
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """False once the thread has ended."""
        return self._thread.is_alive()

    def submit(self, sample: Arrays) -> "Future[Found]":
        """A preprocessed image; a future that is canceled before its run is left out of it."""
        future: Future[Found] = Future()
        with self._changed:
            if self._is_closed:
                raise UserError("the server is stopping")
            self._waiting.append(_Waiting(sample, future, time.perf_counter()))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Finishes what was submitted, without waiting for more, and ends the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            taken = [one for one in batch if one.future.set_running_or_notify_cancel()]
            if taken:
                self._finish(taken)

    def _next_batch(self) -> list[_Waiting]:
        """The images of the next run; none once the batcher is closed and empty."""
        with self._changed:
            while self._drop_canceled() or not self._is_closed:
                if not self._waiting:
                    self._changed.wait()
                    continue
                oldest = self._waiting[0]
                size = oldest.sample["image"].shape
                alike = [one for one in self._waiting if one.sample["image"].shape == size]
                left_s = oldest.since + self._max_wait_s - time.perf_counter()
                if len(alike) >= self._max_batch or left_s <= 0 or self._is_closed:
                    batch = alike[: self._max_batch]
                    chosen = set(map(id, batch))
                    self._waiting = deque(one for one in self._waiting if id(one) not in chosen)
                    return batch
                self._changed.wait(left_s)
        return []

    def _drop_canceled(self) -> bool:
        """True if images are left."""
        left = [one for one in self._waiting if not one.future.cancelled()]
        self._waiting = deque(left)
        return bool(left)

    def _finish(self, batch: list[_Waiting]) -> None:
        start = time.perf_counter()
        try:
            found = self._run([one.sample for one in batch])
        except Exception as error:
            if len(batch) > 1:  # an image that cannot be run must not take others with it
                for one in batch:
                    self._finish([one])
                return
            batch[0].future.set_exception(error)
            self._on_failure(error)
            return
        seconds = time.perf_counter() - start
        self._on_run(len(batch), seconds)
        for one, rows in zip(batch, found):
            one.future.set_result(Found(rows, start - one.since, seconds, len(batch)))
