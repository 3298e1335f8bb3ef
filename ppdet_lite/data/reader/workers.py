"""Worker processes that build whole batches, in order, without ever hanging.

The processes are forked for one epoch, so they share their parent's data set. Worker w builds
batches w, w + n, w + 2n, ..., each when one of its slots of shared memory is free: pixels travel
there, the rest through a pipe.
"""

import contextlib
import gc
import math
import multiprocessing
import os
import pickle
import signal
import traceback
import warnings
from multiprocessing import connection
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from typing import Any, Callable, NamedTuple, Optional

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.data.cache.shared_memory import SLOTS, batch_slots
from ppdet_lite.data.pixels.memory import is_unused
from ppdet_lite.data.reader.collate import RawBatch

Build = Callable[..., RawBatch]
"""build(number, buffer[, memory]), see `BatchBuilder`."""

_LOOK_FOR_PARENT_S = 1.0
_SLOW_S = 60.0


def can_fork() -> bool:
    """True if this system can fork; where it cannot, batches are made in the main process."""
    return "fork" in multiprocessing.get_all_start_methods()


def nothing() -> None:
    """Gives back a batch whose memory gives itself back."""


class WorkerPool:
    """Builds the batches `numbers` ahead of the loop that reads them.

    Args:
        slot_bytes: pixels of the largest batch in bytes; None sends images through the pipes.
        report: told when a batch takes very long or when there is too little memory.
        lends: hand out pixels where they lie in shared memory, which is used again when nobody
            refers to them any more; otherwise it is as soon as `get`'s function is called.

    Raises:
        DataError: the system does not allow so many processes.
    """

    def __init__(
        self,
        build: Build,
        numbers: range,
        workers: int,
        slot_bytes: Optional[int],
        epoch: int,
        report: Callable[[str], None],
        lends: bool = False,
    ):
        self.numbers = numbers
        self.lends = lends
        self._lent: list[tuple[int, int]] = []  # (worker, slot)
        self.epoch = epoch
        self.report = report
        self.processes: list[BaseProcess] = []
        self.pipes: list[Pipe] = []
        count = min(workers, max(len(numbers), 1))
        self.slots = batch_slots(count, slot_bytes, report) if slot_bytes else [[]] * count
        try:
            for worker in range(count):
                self._start(worker, build, numbers[worker::count])
        except BaseException as error:
            self.close()
            if not isinstance(error, OSError):
                raise
            raise DataError(
                f"reader worker {worker} of {count} cannot be started ({error.strerror}): use a "
                "smaller worker_num, or raise the system's limits"
            ) from error

    def _start(self, worker: int, build: Build, numbers: range) -> None:
        method = multiprocessing.get_context("fork")
        slots = self.slots[worker]
        here, there = method.Pipe()
        self.pipes.append(here)
        settings = (build, numbers, there, slots, os.getpid(), list(self.pipes))
        name = f"reader worker {worker}"
        process = method.Process(target=_work, args=settings, name=name, daemon=True)
        with warnings.catch_warnings():  # forking beside other threads is meant here
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        there.close()
        self.processes.append(process)
        for slot in range(len(slots) or SLOTS):
            self._free(worker, slot)

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
        worker = (number - self.numbers.start) % len(self.processes)
        self._take_back()
        slot, raw, shape, error, text = self._receive(worker, number)
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
        waited = 0.0
        while not pipe.poll():
            ready = connection.wait([pipe, *sentinels], timeout=_SLOW_S)
            if not ready:
                waited += _SLOW_S
                self.report(
                    f"waiting for batch {number} of {self._name(worker)} for {waited:.0f} s"
                )
            for other, process in enumerate(self.processes):
                if process.sentinel in ready and not pipe.poll():
                    process.join(5)  # its pipes close a moment before its exit code is known
                    if process.exitcode != 0 or other == worker:
                        raise self._death(other, number)
                    sentinels.remove(process.sentinel)
        try:
            message: _Message = pipe.recv()
            return message
        except (EOFError, ConnectionResetError, pickle.UnpicklingError) as error:
            raise self._death(worker, number) from error

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
            f"{hint}"
        )


class _Message(NamedTuple):
    """A batch with the slot it takes and the `shape` of pixels that lie there; or the exception of
    `build`, as text and, if it is meant for the user, itself.
    """

    slot: int
    raw: Optional[RawBatch] = None
    shape: tuple[int, ...] = ()
    error: Optional[UserError] = None
    traceback: str = ""


def _work(
    build: Build, numbers: range, pipe: Pipe, slots: list[np.ndarray], parent: int, inherited: Any
) -> None:
    """Life of a worker: wait for a free slot, build, send."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:  # so that only the parent holds them and its death is noticed
        other.close()
    cv2.setNumThreads(0)
    gc.freeze()  # a collection would write to all the parent's objects, and so copy their memory
    try:
        for number in numbers:
            while not pipe.poll(_LOOK_FOR_PARENT_S):
                if os.getppid() != parent:
                    return
            slot = pipe.recv()
            pipe.send(_attempt(build, number, slot, slots[slot] if slots else None))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has gone, or does not want more


def _attempt(build: Build, number: int, slot: int, buffer: Optional[np.ndarray]) -> _Message:
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
