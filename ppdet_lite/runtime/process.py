"""An engine in a process of its own, so that this process can decode and draw meanwhile.

Paddle's predictor keeps Python's global lock while it computes, so no other thread of its process
runs meanwhile. ONNX Runtime and OpenVINO release the lock and do not need this.
"""

import contextlib
import multiprocessing
import signal
import threading
import traceback
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import numpy as np

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.engine import Arrays, Engine
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.options import EngineOptions

CLOSE_SECONDS = 5.0
MOST_SHARED = 1 << 28
"""Largest number of float32 values in shared memory (1 GiB); more go through the pipe."""


class EngineProcess(Engine):
    """An engine in another process, `process`, whose errors are raised here.

    Args:
        batch: the largest number of images that go through shared memory, where the size of the
            network's input is known; everything else goes through a pipe.
    """

    def __init__(self, files: ModelFolder, options: EngineOptions, batch: int = 1):
        super().__init__()
        self.graph = files.graph
        context = multiprocessing.get_context("spawn")
        pipe, far_end = context.Pipe()
        height, width = files.config.input_hw or (0, 0)
        count = batch * 3 * height * width
        shared = context.RawArray("f", count) if 0 < count <= MOST_SHARED else None
        self._memory = None if shared is None else np.frombuffer(shared, np.float32)
        self.process = context.Process(
            target=serve, args=(far_end, shared, files, options), daemon=True
        )
        with signals_handled(signal.SIG_IGN):  # the process inherits it from its first moment
            self.process.start()
        far_end.close()
        self._link = Link(files.path, pipe, self.process)
        try:
            facts = self._link.answer()
        except BaseException:
            self._link.end_at_once("it could not be opened")
            raise
        vars(self).update(facts)
        self._message: dict[str, Any] = {}

    def bind(self, inputs: Arrays) -> None:
        self._message = {name: inputs[name] for name in self.input_names}
        image = self._message.get("image")
        if self._memory is not None and image is not None and image.size <= self._memory.size:
            np.copyto(self._memory[: image.size].reshape(image.shape), image)
            self._message["image"] = image.shape

    def execute(self) -> None:
        self._outputs = self._link.answer(self._message)

    def close(self) -> None:
        self._link.close()


class Link:
    """The near end of a pipe to the engine's process; `path` is the model's, for messages."""

    def __init__(self, path: Path, pipe: Any, process: Any):
        self.path, self.pipe, self.process = path, pipe, process
        self._ended = ""  # why it cannot be used any more

    def answer(self, message: Optional[dict[str, Any]] = None) -> Any:
        """The answer of the other process, to `message` if there is one; its errors are raised.

        Any other exception (Ctrl-C) ends the process, as its pending answer would be taken for
        that of the next run.
        """
        if self._ended:
            raise UserError(f"{self.path}: the network cannot be run, {self._ended}; open it again")
        try:
            if message is not None:
                self.pipe.send(message)
            answer = self.pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self.process.join(CLOSE_SECONDS)
            code = self.process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            if code == -9:
                how += ", which often means that the memory was used up"
            raise UserError(f"{self.path}: the process of the network ended ({how})") from error
        except BaseException:
            self.end_at_once("a run of it was interrupted")
            raise
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._ended = self._ended or "it was closed"
        self.pipe.close()
        self.process.join(CLOSE_SECONDS)
        if self.process.is_alive():
            self.end_at_once(self._ended)

    def end_at_once(self, reason: str) -> None:
        """Kills the process; on SIGTERM Paddle would print its call stack."""
        self._ended = reason
        self.pipe.close()
        self.process.kill()
        self.process.join()


@contextlib.contextmanager
def signals_handled(handler: Any) -> Iterator[None]:
    """Context in which `handler` handles Ctrl-C; without effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _termination_waits() -> Iterator[None]:
    """Context in which SIGTERM, which service managers send to all processes of a service, is held
    back; at its end it ends the process in place of Paddle's handler, which prints a call stack."""
    block = getattr(signal, "pthread_sigmask", None)
    if block is None:  # Windows
        yield
        return
    block(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        block(signal.SIG_UNBLOCK, {signal.SIGTERM})


def serve(pipe: Any, shared: Any, files: ModelFolder, options: EngineOptions) -> None:
    """Runs in the other process: opens the engine and answers until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it was not inherited
    memory = None if shared is None else np.frombuffer(shared, np.float32)
    with _termination_waits():
        engine = _result_or_error(lambda: open_engine(files, options))
    if isinstance(engine, Exception):
        pipe.send(engine)
        return
    names = ("kernels", "device", "runs_on", "fixed_batch", "input_names")
    pipe.send({name: getattr(engine, name) for name in names})
    with contextlib.suppress(EOFError, OSError):  # closed, perhaps without taking an answer
        while True:
            inputs = pipe.recv()
            shape = inputs.get("image")
            if memory is not None and isinstance(shape, tuple):
                inputs["image"] = memory[: int(np.prod(shape))].reshape(shape)
            pipe.send(_result_or_error(lambda: engine.run(inputs)))  # noqa: B023, called at once


def _result_or_error(work: Callable[[], Any]) -> Any:
    """Returns the result or the error; one that is no `UserError`, and may not be sent, as text
    with its call stack."""
    try:
        return work()
    except UserError as error:
        return error
    except Exception as error:
        where = f"in the network's process:\n{traceback.format_exc()}"
        return RuntimeError(f"{type(error).__name__}: {error}\n\n{where}")
