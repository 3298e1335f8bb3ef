"""An engine in a process of its own, so that this process can decode and draw meanwhile.

Paddle's predictor keeps Python's global lock while it computes: no other thread of the process
gets a step further, so decoding, inference and drawing would follow each other however many threads
there are. ONNX Runtime and OpenVINO let go of the lock and do not need this.
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


class EngineProcess(Engine):
    """An engine in another process, `process`; opening it raises what was raised there.

    Args:
        batch: the largest number of images that go through shared memory, where the size of the
            network's input is known; everything else goes through a pipe.
    """

    def __init__(self, files: ModelFolder, options: EngineOptions, batch: int = 1):
        super().__init__()
        self.graph = files.graph
        context = multiprocessing.get_context("spawn")
        pipe, far_end = context.Pipe()
        size = files.config.input_hw
        shared = context.RawArray("f", batch * 3 * size[0] * size[1]) if size else None
        self._memory = None if shared is None else np.frombuffer(shared, np.float32)
        self.process = context.Process(
            target=serve, args=(far_end, shared, files, options), daemon=True
        )
        with _interrupts_ignored():
            self.process.start()
        far_end.close()
        self._link = Link(files.path, pipe, self.process)
        try:
            facts = self._link.answer()
        except BaseException:
            self._link.end_at_once("it could not be opened")
            raise
        self.kernels, self.device = facts["kernels"], facts["device"]
        self.fixed_batch, self.input_names = facts["fixed_batch"], facts["input_names"]
        self._message: dict[str, Any] = {}
        self._outputs: list[np.ndarray] = []

    def bind(self, inputs: Arrays) -> None:
        self._message = {name: inputs[name] for name in self.input_names}
        image = self._message.get("image")
        if self._memory is not None and image is not None and image.size <= self._memory.size:
            np.copyto(self._memory[: image.size].reshape(image.shape), image)
            self._message["image"] = image.shape

    def execute(self) -> None:
        self._outputs = self._link.answer(self._message)

    def outputs(self) -> list[np.ndarray]:
        return self._outputs

    def close(self) -> None:
        self._link.close()


class Link:
    """The near end of a pipe to the engine's process; `path` is the model's, for messages."""

    def __init__(self, path: Path, pipe: Any, process: Any):
        self.path, self.pipe, self.process = path, pipe, process
        self._ended = ""  # why it cannot be used any more

    def answer(self, message: Optional[dict[str, Any]] = None) -> Any:
        """The answer of the other process, to `message` if there is one; its errors are raised.

        An exception from outside (Ctrl-C) ends the process: the answer that is still to come would
        be taken for that of the next run.
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
        """Ends the process without the call stack that Paddle prints when it is asked to end."""
        self._ended = reason
        self.pipe.close()
        self.process.kill()
        self.process.join()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process started meanwhile ignores Ctrl-C from its first moment: it is the business of this
    one."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are set in the main thread only
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _termination_waits() -> Iterator[None]:
    """Paddle prints its call stack when a process that imports it is asked to end (SIGTERM, which
    service managers send to all processes of a service). Such a request waits until the imports are
    done, and then ends this process without a word."""
    block = getattr(signal, "pthread_sigmask", None)
    if block is None:  # Windows
        yield
        return
    block(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # in place of Paddle's
        block(signal.SIG_UNBLOCK, {signal.SIGTERM})


def serve(pipe: Any, shared: Any, files: ModelFolder, options: EngineOptions) -> None:
    """Work of the other process: opens the engine and answers until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it was not inherited
    memory = None if shared is None else np.frombuffer(shared, np.float32)
    with _termination_waits():
        engine = _result_or_error(lambda: open_engine(files, options))
    if isinstance(engine, Exception):
        pipe.send(engine)
        return
    names = ("kernels", "device", "fixed_batch", "input_names")
    pipe.send({name: getattr(engine, name) for name in names})
    with contextlib.suppress(EOFError, OSError):  # closed, perhaps without taking an answer
        while True:
            inputs = pipe.recv()
            shape = inputs.get("image")
            if memory is not None and isinstance(shape, tuple):
                inputs["image"] = memory[: int(np.prod(shape))].reshape(shape)
            pipe.send(_result_or_error(lambda: engine.run(inputs)))  # noqa: B023, called at once


def _result_or_error(work: Callable[[], Any]) -> Any:
    """Errors of users as they are; others, which are defects, in words with their call stack, since
    not all can be sent."""
    try:
        return work()
    except UserError as error:
        return error
    except Exception as error:
        stack = traceback.format_exc()
        return RuntimeError(
            f"{type(error).__name__}: {error}\n\nin the network's process:\n{stack}"
        )
