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
from typing import Callable, NamedTuple, Optional, Sequence

QUEUE_LENGTH = 4
READ_SECONDS = 2.0
"""So long is waited at the end for a frame that is being read: a dead camera may never give it."""

_POLL_SECONDS = 0.1
_END = object()


class FrameCounts(NamedTuple):
    """How many frames were detected on and how many of a live source were skipped."""

    done: int
    skipped: int


class _Stop(Exception):
    """Another stage ended the run."""


class _StopFlag:
    """Whether the run is over: polled, never waited for, and without a lock, so that a signal
    handler may set it."""

    def __init__(self):
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True


class _Lane:
    """A bounded queue whose ends notice that the run is over."""

    def __init__(self, stop: _StopFlag, length: int):
        self._stop = stop
        self._queue = queue.Queue(length)

    def put(self, item) -> None:
        """Waits for a place."""
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        raise _Stop

    def put_newest(self, item) -> int:
        """Takes the place of the oldest waiting item where the queue is full; returns how many
        items were thrown away."""
        thrown = 0
        while True:
            try:
                self._queue.put_nowait(item)
                return thrown
            except queue.Full:
                try:
                    self._queue.get_nowait()
                    thrown += 1
                except queue.Empty:
                    continue

    def get(self):
        """Waits for an item."""
        while not self._stop.is_set():
            try:
                return self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
        raise _Stop


class _Stage(threading.Thread):
    """A thread that keeps its exception and stops the others with it."""

    def __init__(self, name: str, work: Callable[[], None], stop: _StopFlag):
        super().__init__(name=name, daemon=True)
        self._work, self._stop_event = work, stop
        self.error: Optional[BaseException] = None

    def run(self) -> None:
        try:
            self._work()
        except _Stop:
            pass
        except BaseException as error:  # handed on to the calling thread, which raises it
            self.error = error
            self._stop_event.set()


@contextlib.contextmanager
def _interrupts_set(flag: _StopFlag):
    """Lets Ctrl-C set `flag` where it would raise; yields a function that tells whether it did.

    An exception in the middle of a queue's own code can leave its lock taken, and the threads at
    its other end would wait for good. A second Ctrl-C raises all the same.
    """
    seen = _StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield seen.is_set  # signals go to the main thread
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number, frame):
        if seen.is_set():
            raise KeyboardInterrupt
        seen.set()
        flag.set()

    signal.signal(signal.SIGINT, handle)
    try:
        yield seen.is_set
    finally:
        signal.signal(signal.SIGINT, before)


class FramePipeline:
    """Runs a detector over the frames of a source.

    Args:
        frames: iterable of frames, each with `index` and `image`; iterated in thread "decode".
        prepare: an image -> the network's input for it; in thread "decode" as well.
        detect: a list of inputs -> a list of detections; in the calling thread.
        write: (frame, detections); in thread "write".
        batch_size: frames per call of `detect`.
        is_live: skip frames instead of waiting for the network.
    """

    def __init__(
        self,
        frames,
        prepare: Callable,
        detect: Callable[[Sequence], Sequence],
        write: Callable,
        batch_size: int = 1,
        is_live: bool = False,
        queue_length: int = QUEUE_LENGTH,
    ):
        self.frames, self.prepare, self.detect, self.write = frames, prepare, detect, write
        self.batch_size, self.is_live = batch_size, is_live
        self.skipped = 0
        self._stop = _StopFlag()
        self._read = _Lane(self._stop, max(queue_length, batch_size))
        self._found = _Lane(self._stop, queue_length)
        self._late: Optional[BaseException] = None

    def run(self) -> FrameCounts:
        """All frames, from the first to the end of the source.

        Frames that were read before an error of the source are still done and written.

        Raises:
            Whatever a stage raised. Ctrl-C comes through after the threads have ended, and before
            any error: a signal to all processes of a service ends the network's as well.
        """
        threads = [
            _Stage("decode", self._decode, self._stop),
            _Stage("write", self._write_all, self._stop),
        ]
        done, failed = 0, None
        with _interrupts_set(self._stop) as was_interrupted:
            for thread in threads:
                thread.start()
            try:
                done = self._detect_all()
                threads[1].join()
            except _Stop:
                pass
            except Exception as error:
                failed = error
            finally:
                self._stop.set()
                threads[0].join(READ_SECONDS)
                threads[1].join()
        if was_interrupted():
            raise KeyboardInterrupt
        for error in (failed, *(thread.error for thread in threads), self._late):
            if error is not None:
                raise error
        return FrameCounts(done, self.skipped)

    def _decode(self) -> None:
        frames = iter(self.frames)
        try:
            while not self._stop.is_set():
                frame = next(frames, _END)
                if frame is _END:
                    break
                item = (frame, self.prepare(frame.image))
                if self.is_live:
                    self.skipped += self._read.put_newest(item)
                else:
                    self._read.put(item)
        except _Stop:
            raise
        except Exception as error:  # what was read before is finished first, see `run`
            self._late = error
        finally:
            close = getattr(frames, "close", None)
            if close is not None:
                close()
        self._read.put(_END)

    def _detect_all(self) -> int:
        done, batch, at_end = 0, [], False
        while not at_end:
            item = self._read.get()
            at_end = item is _END
            batch += [] if at_end else [item]
            if batch and (at_end or len(batch) == self.batch_size):
                found = self.detect([sample for _, sample in batch])
                for (frame, _), bbox in zip(batch, found):
                    self._found.put((frame, bbox))
                done += len(batch)
                batch = []
        self._found.put(_END)
        return done

    def _write_all(self) -> None:
        while True:
            item = self._found.get()
            if item is _END:
                return
            self.write(*item)
