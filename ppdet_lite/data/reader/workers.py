"""Worker processes that build whole batches, in order, without ever hanging.

The processes are forked once, so they share their parent's data set, and go on with the batches of
later epochs, whose first ones are ready when the epoch begins. Worker w builds batches w, w + n,
w + 2n, ... of all, each when one of its slots of shared memory is free: pixels travel there, the
rest through a pipe.
"""

import contextlib
import gc
import itertools
import math
import multiprocessing
import os
import pickle
import signal
import time
import traceback
import warnings
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from typing import Any, Callable, Iterator, NamedTuple, Optional

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.data.cache.shared_memory import SLOTS, batch_slots, shared_bytes
from ppdet_lite.data.pixels.clock import Clock
from ppdet_lite.data.pixels.memory import is_unused
from ppdet_lite.data.reader.batch import BatchBuilder
from ppdet_lite.data.reader.collate import RawBatch

_LOOK_S = 1.0
_SLOW_S = 60.0
_STOPPING = {signal.SIGINT, signal.SIGTERM}


def can_fork() -> bool:
    """True if this system can fork; where it cannot, batches are made in the main process."""
    return "fork" in multiprocessing.get_all_start_methods()


def nothing() -> None:
    """Gives back a batch whose memory gives itself back."""


class Diary:
    """The file that a worker works on, in memory shared with its parent: a `Clock` around the
    reader's own.

    Attributes:
        finished: uint8 [1], 1 once the worker has sent all its batches.
    """

    def __init__(self) -> None:
        self._began = shared_bytes(8).view(np.float64)
        self.finished = shared_bytes(1)
        self._path = shared_bytes(4096)
        self.clock: Optional[Clock] = None

    @contextlib.contextmanager
    def __call__(self, step: str, path: str = "") -> Iterator[None]:
        assert self.clock is not None
        if path:
            text = path.encode("utf-8", "surrogateescape")[: len(self._path) - 1] + b"\0"
            self._path[: len(text)] = np.frombuffer(text, np.uint8)
            if step.lower() == "decode":
                self._began[0] = time.monotonic()
        try:
            with self.clock(step, path):
                yield
        finally:
            if path:
                self._began[0] = 0

    @property
    def path(self) -> str:
        """The last file; "" before the first."""
        return self._path.tobytes().partition(b"\0")[0].decode("utf-8", "surrogateescape")

    @property
    def began(self) -> float:
        """A time that is new for every file that is read and decoded, 0 in between."""
        return float(self._began[0])


class WorkerPool:
    """Builds the batches `numbers`, then those of later epochs, ahead of the loop that reads them.

    Attributes:
        epoch, number: of the batch that `get` gives next.

    Args:
        later: epochs to go on with; `builder_of` makes the builder of one, for all its batches.
        slot_bytes: pixels of the largest batch in bytes; None sends images through the pipes.
        max_decode_seconds: that a worker may take to read and decode one file.
        report: told when a batch takes very long or when there is too little memory.
        lends: hand out pixels where they lie in shared memory, which is used again when nobody
            refers to them any more; otherwise it is as soon as `get`'s function is called.

    Raises:
        DataError: the system does not allow so many processes.
    """

    def __init__(
        self,
        build: BatchBuilder,
        numbers: range,
        workers: int,
        slot_bytes: Optional[int],
        max_decode_seconds: float,
        report: Callable[[str], None],
        *,
        lends: bool,
        later: range,
        builder_of: Callable[[int], BatchBuilder],
    ):
        self.epoch, self.number, self._taken = build.epoch, numbers.start, 0
        self._stop, self._later = numbers.stop, later
        self.lends = lends
        self._lent: list[tuple[int, int]] = []  # (worker, slot)
        self.max_decode_seconds = max_decode_seconds
        self.report = report
        self.processes: list[BaseProcess] = []
        self.pipes: list[Pipe] = []
        count = workers if later else min(workers, max(len(numbers), 1))
        self.diaries = [Diary() for _ in range(count)]
        self.slots = batch_slots(count, slot_bytes, report) if slot_bytes else [[]] * count
        try:
            for worker in range(count):
                with _held_back(_STOPPING):  # until the worker is known, so that it is ended too
                    self._start(worker, _Jobs(build, numbers, later, builder_of, worker, count))
        except BaseException as error:
            self.close()
            if not isinstance(error, OSError):
                raise
            raise DataError(
                f"reader worker {worker} of {count} cannot be started ({error.strerror}): use a "
                "smaller worker_num, or raise the system's limits"
            ) from error

    def _start(self, worker: int, jobs: "_Jobs") -> None:
        method = multiprocessing.get_context("fork")
        slots = self.slots[worker]
        here, there = method.Pipe()
        self.pipes.append(here)
        diary = self.diaries[worker]
        settings = (jobs, there, slots, diary, os.getpid(), list(self.pipes))
        name = f"reader worker {worker}"
        process = method.Process(target=_work, args=settings, name=name, daemon=True)
        with warnings.catch_warnings():  # forking beside other threads is meant here
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        there.close()
        self.processes.append(process)
        for slot in range(len(slots) or SLOTS):
            self._free(worker, slot)

    def go_to(self, epoch: int, number: int, stop: int) -> bool:
        """Makes the batch `number` of `epoch`, which has `stop` batches, the next that `get` gives;
        False if that is none of those that the workers have before them, or too far away.

        Raises:
            DataError: a worker has died.
        """
        if not self.processes:
            return False
        if (epoch, number) == (self.epoch, self.number):
            return True
        left = self._stop - self.number
        is_next = (epoch, number) == (self.epoch + 1, 0) and epoch in self._later
        if not is_next or left > SLOTS * len(self.processes):
            return False
        while self.number < self._stop:  # those that the loop has not asked for
            message, worker = self._next()
            self._free(worker, message.slot)
        self.epoch, self.number, self._stop = epoch, 0, stop
        return True

    def _next(self) -> tuple["_Message", int]:
        """The message about the next batch, and its worker."""
        worker = self._taken % len(self.processes)
        self._take_back()
        message = self._receive(worker, self.number)
        self._taken += 1
        self.number += 1
        return message, worker

    def get(self, number: int) -> tuple[RawBatch, Callable[[], None]]:
        """Batch `number` (in rising order) and a function to call when its pixels are used up.

        Raises:
            DataError: a worker has died.
            UserError: what `build` raised, with its own type.
            RuntimeError: any other exception, with the worker's traceback; or the pool has been
                closed.
        """
        if not self.processes:
            raise RuntimeError(f"batch {number}: the reader has been closed; iterate anew")
        (slot, raw, shape, error, text), worker = self._next()
        if raw is None:
            failed = f"{self._name(worker)} failed at batch {number}:\n{text}"
            raise RuntimeError(failed) if error is None else error
        if shape:
            pixels = self.slots[worker][slot][: math.prod(shape)].reshape(shape)
            others = set(range(len(self.slots[worker]))) - {slot}
            if self.lends and any((worker, other) not in self._lent for other in others):
                self._lent.append((worker, slot))  # the worker can go on in another
                return raw._replace(image=pixels), nothing
            raw = raw._replace(image=pixels.copy() if self.lends else pixels)
        return raw, lambda: self._free(worker, slot)

    def _take_back(self) -> None:
        """Lets workers use the slots whose pixels nobody refers to any more."""
        returned = [(w, slot) for w, slot in self._lent if is_unused(self.slots[w], slot)]
        self._lent = [entry for entry in self._lent if entry not in returned]
        for worker, slot in returned:
            self._free(worker, slot)

    def close(self) -> None:
        """End all workers at once; safe to call again."""
        processes, self.processes = self.processes, []
        for pipe in self.pipes:
            pipe.close()
        for process in processes:
            if process.is_alive():
                process.kill()
        for process in processes:
            process.join()
            process.close()
        self.pipes, self.slots, self._lent = [], [], []

    def _name(self, worker: int) -> str:
        return f"reader worker {worker} (process {self.processes[worker].pid})"

    def _free(self, worker: int, slot: int) -> None:
        """Tell a worker that it may use a slot."""
        if not self.processes:
            return
        # A worker that has finished, or died, no longer listens: the next `get` finds out which.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipes[worker].send(slot)

    def _receive(self, worker: int, number: int) -> "_Message":
        pipe = self.pipes[worker]
        sentinels: list[Any] = [process.sentinel for process in self.processes]
        waited, seen, slow = 0.0, [(0.0, 0.0)] * len(self.processes), _SLOW_S
        while not pipe.poll():
            began = time.monotonic()
            ready = connection.wait([pipe, *sentinels], timeout=_LOOK_S)
            # The time that a stopped program sleeps does not count.
            waited += min(time.monotonic() - began, 2 * _LOOK_S)
            for other, diary in enumerate(self.diaries):
                if diary.began != seen[other][0]:
                    seen[other] = (diary.began, waited)
                elif diary.began and waited - seen[other][1] > self.max_decode_seconds:
                    raise DataError(
                        f"{diary.path}: {self._name(other)} has been reading and decoding it for "
                        f"{waited - seen[other][1]:.0f} s, more than max_decode_seconds "
                        f"{self.max_decode_seconds:g}"
                    )
            if waited >= slow:
                slow += _SLOW_S
                self.report(
                    f"waiting for batch {number} of {self._name(worker)} for {waited:.0f} s"
                    f"{self._last_file(worker)}"
                )
            for other, process in enumerate(self.processes):
                if process.sentinel in ready and not pipe.poll():
                    process.join(5)  # its pipes close a moment before its exit code is known
                    # The end of a process that was forked in a thread may fail after all its work.
                    failed = process.exitcode != 0 and not self.diaries[other].finished.any()
                    if failed or other == worker:
                        raise self._death(other, number)
                    sentinels.remove(process.sentinel)
        try:
            message: _Message = pipe.recv()
            return message
        except (EOFError, ConnectionResetError, pickle.UnpicklingError) as error:
            raise self._death(worker, number) from error

    def _last_file(self, worker: int) -> str:
        path = self.diaries[worker].path
        return f"; the last file that it worked on: {path}" if path else ""

    def _death(self, worker: int, number: int) -> DataError:
        process = self.processes[worker]
        process.join(5)
        code = process.exitcode
        end, hint = f"ended with exit code {code}", ""
        if code is not None and code < 0:
            end = f"was killed by signal {-code} ({signal.Signals(-code).name})"
        if code == -signal.SIGKILL:
            hint = "; often the machine ran out of memory: use fewer workers or a smaller batch"
        return DataError(
            f"{self._name(worker)} {end} while batch {number} of epoch {self.epoch} was awaited"
            f"{hint}{self._last_file(worker)}"
        )


@dataclass(frozen=True)
class _Jobs:
    """The batches of one worker: every `count`-th, from `worker` on."""

    build: BatchBuilder
    numbers: range
    later: range
    builder_of: Callable[[int], BatchBuilder]
    worker: int
    count: int

    def __iter__(self) -> Iterator[tuple[BatchBuilder, int]]:
        return itertools.islice(self._all(), self.worker, None, self.count)

    def _all(self) -> Iterator[tuple[BatchBuilder, int]]:
        for number in self.numbers:
            yield self.build, number
        for epoch in self.later:
            build = self.builder_of(epoch)
            for number in range(len(build.batches)):
                yield build, number


class _Message(NamedTuple):
    """A batch with the slot it takes and the `shape` of pixels that lie there; or the exception of
    `build`, as text and, if it is meant for the user, itself.
    """

    slot: int
    raw: Optional[RawBatch] = None
    shape: tuple[int, ...] = ()
    error: Optional[UserError] = None
    traceback: str = ""


@contextlib.contextmanager
def _held_back(signals: set[signal.Signals]) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    jobs: _Jobs,
    pipe: Pipe,
    slots: list[np.ndarray],
    diary: Diary,
    parent: int,
    inherited: list[Pipe],
) -> None:
    """Life of a worker: wait for a free slot, build, send."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    diary.clock = jobs.build.collator.clock
    for other in inherited:  # so that only the parent holds them and its death is noticed
        other.close()
    cv2.setNumThreads(0)
    gc.freeze()  # a collection would write to all the parent's objects, and so copy their memory
    try:
        for build, number in jobs:
            build = replace(build, collator=replace(build.collator, clock=diary))
            while not pipe.poll(_LOOK_S):
                if os.getppid() != parent:
                    return
            slot = pipe.recv()
            pipe.send(_attempt(build, number, slot, slots[slot] if slots else None))
        diary.finished[0] = 1
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has gone, or does not want more


def _attempt(build: BatchBuilder, number: int, slot: int, buffer: Optional[np.ndarray]) -> _Message:
    try:
        raw = build(number, buffer)
    except Exception as error:
        return _Message(slot, error=_portable(error), traceback=traceback.format_exc())
    if buffer is not None and raw.image is not None and np.shares_memory(raw.image, buffer):
        return _Message(slot, raw._replace(image=None), raw.image.shape)
    return _Message(slot, raw)


def _portable(error: Exception) -> Optional[UserError]:
    """Errors for the user keep their type; the rest is sent as text only."""
    if not isinstance(error, UserError):
        return None
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # a user's own error class that cannot travel: its text still does
        return DataError(str(error))
