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
from typing import Optional

import numpy as np

from ppdet_lite.core.errors import UserError

CLOSE_SECONDS = 5.0


class EngineProcess:
    """Opens an engine in another process; `run` is that of the engine.

    Args:
        files: the model folder.
        options: arguments of `detector.open_engine` beside the files.
        shape: largest shape of `image`, which then goes through shared memory; None: every input
            goes through a pipe.

    Attributes:
        kernels, device, fixed_batch, input_names: those of the engine.

    Raises:
        UserError: what opening the engine raised there.
    """

    def __init__(self, files, options: dict, shape: Optional[tuple[int, ...]] = None):
        self.path = files.path
        self._ended = ""  # why it cannot run any more
        context = multiprocessing.get_context("spawn")
        self._pipe, far_end = context.Pipe()
        shared = context.RawArray("f", int(np.prod(shape))) if shape else None
        self._memory = None if shared is None else np.frombuffer(shared, np.float32)
        self._process = context.Process(
            target=_serve, args=(far_end, shared, files, options), daemon=True
        )
        with _interrupts_ignored():
            self._process.start()
        far_end.close()
        try:
            facts = self._answer()
        except BaseException:
            self._kill("it could not be opened")
            raise
        self.kernels, self.device = facts["kernels"], facts["device"]
        self.fixed_batch, self.input_names = facts["fixed_batch"], facts["input_names"]

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Arrays by input name -> the graph's outputs in its order.

        Raises:
            UserError: the engine was closed, or its process has ended.
        """
        if self._ended:
            raise UserError(f"{self.path}: the network cannot be run, {self._ended}; open it again")
        message = {name: inputs[name] for name in self.input_names}
        image = message.get("image")
        if self._memory is not None and image is not None and image.size <= self._memory.size:
            np.copyto(self._memory[: image.size].reshape(image.shape), image)
            message["image"] = image.shape
        return self._answer(message)

    def close(self) -> None:
        """Ends the process; the engine cannot be used any more."""
        self._ended = self._ended or "it was closed"
        self._pipe.close()
        self._process.join(CLOSE_SECONDS)
        if self._process.is_alive():
            self._kill(self._ended)

    def _kill(self, reason: str) -> None:
        """Ends the process at once, and without the call stack that Paddle prints when asked to."""
        self._ended = reason
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def _answer(self, message: Optional[dict] = None):
        """What the other process says, to `message` if there is one; its errors are raised.

        An exception from outside (Ctrl-C) closes the engine: the answer that is still to come would
        be taken for that of the next run.
        """
        try:
            if message is not None:
                self._pipe.send(message)
            answer = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise self._gone() from error
        except BaseException:
            self._kill("a run of it was interrupted")
            raise
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _gone(self) -> UserError:
        self._process.join(CLOSE_SECONDS)
        code = self._process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        if code == -9:
            how += ", which often means that the memory was used up"
        return UserError(f"{self.path}: the process of the network ended ({how})")


@contextlib.contextmanager
def _interrupts_ignored():
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
def _termination_waits():
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


def _serve(pipe, shared, files, options: dict) -> None:
    """What the other process does: opens the engine and answers until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it was not inherited
    from ppdet_lite.runtime.detector import open_engine

    memory = None if shared is None else np.frombuffer(shared, np.float32)
    try:
        with _termination_waits():
            engine = open_engine(files, **options)
    except Exception as error:  # raised again in the first process
        pipe.send(_sendable(error))
        return
    names = ("kernels", "device", "fixed_batch", "input_names")
    pipe.send({name: getattr(engine, name) for name in names})
    while True:
        try:
            inputs = pipe.recv()
        except (EOFError, OSError):  # closed, perhaps with an answer that nobody took
            return
        if isinstance(inputs.get("image"), tuple):
            shape = inputs["image"]
            inputs["image"] = memory[: int(np.prod(shape))].reshape(shape)
        try:
            answer = engine.run(inputs)
        except Exception as error:  # raised again in the first process
            answer = _sendable(error)
        try:
            pipe.send(answer)
        except OSError:  # the first process does not wait for it any more
            return


def _sendable(error: Exception) -> Exception:
    """Errors of users as they are; others, which are defects, in words with their call stack, since
    not all can be sent."""
    if isinstance(error, UserError):
        return error
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return RuntimeError(f"{type(error).__name__}: {error}\n\nin the network's process:\n{stack}")
