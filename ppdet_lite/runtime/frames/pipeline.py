"""Decoding, inference and drawing at the same time, each in a thread of its own.

    source --decode, preprocess--> queue --network--> queue --draw, write--> files
       thread "decode"              calling thread            thread "write"

Both queues are short, which bounds the memory. Frames keep their order. Of a live source that is
faster than the network frames are skipped.
"""

import contextlib
import queue
import threading
from typing import Any, Callable, Iterable, Sequence

import numpy as np

from ppdet_lite.runtime.frames.sources import Frame
from ppdet_lite.runtime.process import signals_handled

QUEUE_LENGTH = 4
READ_SECONDS = 2.0
"""Time at the end for a frame that is being read, which a dead camera may never give."""

_POLL_SECONDS = 0.1


class _Stop(BaseException):
    """Another stage ended the run."""


class FramePipeline:
    """Runs a detector over the frames of a source.

    Args:
        frames, prepare: the frames, and from an image to the network's input; in thread "decode".
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
        self.skipped = self._done = 0
        # Polled, never waited for, and without a lock, so that a signal handler may set them.
        self._is_over = self._was_interrupted = False
        self._read: queue.Queue[Any] = queue.Queue(max(queue_length, batch_size))
        self._found: queue.Queue[Any] = queue.Queue(queue_length)  # None is the last item of both
        self._errors: list[BaseException] = []
        self._late: list[BaseException] = []

    def run(self) -> int:
        """All frames to the end of the source; returns how many were detected on.

        Frames that were read before an error of the source are still done and written.

        Raises:
            The first error of a stage. Ctrl-C is raised after the threads have ended, and before
            any error: a signal to all processes of a service ends the network's as well.
        """
        threads = [
            threading.Thread(target=self._keep_errors, args=(work,), name=name, daemon=True)
            for name, work in (("decode", self._decode), ("write", self._write_all))
        ]
        with signals_handled(self._interrupt):
            for thread in threads:
                thread.start()
            try:
                self._keep_errors(self._detect_all)
                threads[1].join()  # not stopped before all is written
            finally:
                self._is_over = True
                threads[0].join(READ_SECONDS)
                threads[1].join()
        if self._was_interrupted:
            raise KeyboardInterrupt
        for error in self._errors + self._late:
            raise error
        return self._done

    def _interrupt(self, *_: object) -> None:
        """Ends the run at the first Ctrl-C and raises at the second: an exception in the middle of
        a queue's own code can leave its lock taken for good."""
        if self._was_interrupted:
            raise KeyboardInterrupt
        self._was_interrupted = self._is_over = True

    def _until_over(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """The result of putting into or getting from a queue, tried until the run is over."""
        while not self._is_over:
            with contextlib.suppress(queue.Full, queue.Empty):
                return work(*arguments, timeout=_POLL_SECONDS)
        raise _Stop

    def _keep_errors(self, work: Callable[[], None]) -> None:
        """An error of a stage stops the others."""
        try:
            work()
        except _Stop:
            pass
        except BaseException as error:
            self._errors.append(error)
            self._is_over = True

    def _decode(self) -> None:
        try:
            for frame in self.frames:
                item = (frame, self.prepare(frame.image))
                while self.is_live and self._read.full():
                    with contextlib.suppress(queue.Empty):
                        self._read.get_nowait()
                        self.skipped += 1
                self._until_over(self._read.put, item)
        except Exception as error:  # what was read before is finished first, see `run`
            self._late.append(error)
        self._until_over(self._read.put, None)

    def _detect_all(self) -> None:
        batch, is_over = [], False
        while not is_over:
            item = self._until_over(self._read.get)
            is_over = item is None
            batch += [] if is_over else [item]
            if batch and (is_over or len(batch) == self.batch_size):
                found = self.detect([sample for _, sample in batch])
                for (frame, _), rows in zip(batch, found):
                    self._until_over(self._found.put, (frame, rows))
                self._done += len(batch)
                batch = []
        self._until_over(self._found.put, None)

    def _write_all(self) -> None:
        while (item := self._until_over(self._found.get)) is not None:
            self.write(*item)
