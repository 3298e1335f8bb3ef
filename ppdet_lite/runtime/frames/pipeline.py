"""Decoding, inference and drawing at the same time, each in a thread of its own.

    source --decode, preprocess--> queue --network--> queue --draw, write--> files
       thread "decode"              calling thread            thread "write"

Both queues are short, so memory stays bounded and no stage runs far ahead. Frames keep their order.
Of a live source that is faster than the network, the frames in between are skipped: what is shown
is now, not some minutes ago.
"""

import contextlib
import queue
import signal
import threading
from typing import Any, Callable, Iterable, Iterator, Sequence

import numpy as np

from ppdet_lite.runtime.frames.sources import Frame

QUEUE_LENGTH = 4
READ_SECONDS = 2.0
"""So long is waited at the end for a frame that is being read: a dead camera may never give it."""

_POLL_SECONDS = 0.1


class _Stop(BaseException):
    """Another stage ended the run."""


class _Flag:
    """Polled, never waited for, and without a lock, so that a signal handler may set it."""

    is_set = False


class _Lane:
    """A bounded queue whose ends notice that the run is over; None is the last item."""

    def __init__(self, stop: _Flag, length: int):
        self._stop = stop
        self._queue: queue.Queue[Any] = queue.Queue(length)

    def put(self, item: Any) -> None:
        """Waits for a place."""
        while not self._stop.is_set:
            with contextlib.suppress(queue.Full):
                return self._queue.put(item, timeout=_POLL_SECONDS)
        raise _Stop

    def put_newest(self, item: Any) -> int:
        """Throws the oldest items away where the queue is full; returns how many."""
        thrown = 0
        while True:
            try:
                self._queue.put_nowait(item)
                return thrown
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._queue.get_nowait()
                    thrown += 1

    def get(self) -> Any:
        """Waits for an item."""
        while not self._stop.is_set:
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=_POLL_SECONDS)
        raise _Stop


@contextlib.contextmanager
def _interrupts_set(flag: _Flag) -> Iterator[_Flag]:
    """Context in which Ctrl-C sets `flag`, and the flag that is yielded, where it would raise.

    An exception in the middle of a queue's own code can leave its lock taken, and the threads at
    its other end would wait for good. A second Ctrl-C raises all the same.
    """
    seen = _Flag()
    if threading.current_thread() is not threading.main_thread():
        yield seen  # signals go to the main thread
        return

    def handle(*_: object) -> None:
        if seen.is_set:
            raise KeyboardInterrupt
        seen.is_set = flag.is_set = True

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


class FramePipeline:
    """Runs a detector over the frames of a source.

    Args:
        frames: iterated in thread "decode".
        prepare: an image -> the network's input for it; in thread "decode" as well.
        detect: a list of inputs -> a list of detections; in the calling thread.
        write: takes a frame and its detections, in thread "write".
        batch_size: frames per call of `detect`.
        is_live: skip frames instead of waiting for the network.

    Attributes:
        skipped: frames of a live source that the network could not follow.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        prepare: Callable[[np.ndarray], Any],
        detect: Callable[[list[Any]], Sequence[np.ndarray]],
        write: Callable[[Frame, np.ndarray], None],
        *,
        batch_size: int = 1,
        is_live: bool = False,
        queue_length: int = QUEUE_LENGTH,
    ):
        self.frames, self.prepare, self.detect, self.write = frames, prepare, detect, write
        self.batch_size, self.is_live = batch_size, is_live
        self.skipped = 0
        self._stop = _Flag()
        self._read = _Lane(self._stop, max(queue_length, batch_size))
        self._found = _Lane(self._stop, queue_length)
        self._done = 0
        self._errors: list[BaseException] = []
        self._late: list[BaseException] = []

    def run(self) -> int:
        """All frames to the end of the source; returns how many were detected on.

        Frames that were read before an error of the source are still done and written.

        Raises:
            Whatever a stage raised. Ctrl-C comes through after the threads have ended, and before
            any error: a signal to all processes of a service ends the network's as well.
        """
        threads = [
            threading.Thread(target=self._keep_errors, args=(work,), name=name, daemon=True)
            for name, work in (("decode", self._decode), ("write", self._write_all))
        ]
        with _interrupts_set(self._stop) as interrupted:
            for thread in threads:
                thread.start()
            try:
                self._keep_errors(self._detect_all)
                threads[1].join()  # not stopped before all is written
            finally:
                self._stop.is_set = True
                threads[0].join(READ_SECONDS)
                threads[1].join()
        if interrupted.is_set:
            raise KeyboardInterrupt
        for error in self._errors + self._late:
            raise error
        return self._done

    def _keep_errors(self, work: Callable[[], None]) -> None:
        """An error of a stage stops the others."""
        try:
            work()
        except _Stop:
            pass
        except BaseException as error:
            self._errors.append(error)
            self._stop.is_set = True

    def _decode(self) -> None:
        try:
            for frame in self.frames:
                item = (frame, self.prepare(frame.image))
                if self.is_live:
                    self.skipped += self._read.put_newest(item)
                else:
                    self._read.put(item)
                if self._stop.is_set:
                    return
        except Exception as error:  # what was read before is finished first, see `run`
            self._late.append(error)
        self._read.put(None)

    def _detect_all(self) -> None:
        batch, is_over = [], False
        while not is_over:
            item = self._read.get()
            is_over = item is None
            batch += [] if is_over else [item]
            if batch and (is_over or len(batch) == self.batch_size):
                found = self.detect([sample for _, sample in batch])
                for (frame, _), rows in zip(batch, found):
                    self._found.put((frame, rows))
                self._done += len(batch)
                batch = []
        self._found.put(None)

    def _write_all(self) -> None:
        for frame, rows in iter(self._found.get, None):
            self.write(frame, rows)
