"""An engine in a process of its own, so that this process can decode and draw meanwhile.

Paddle's predictor keeps Python's global lock while it computes: no other thread of the process
gets a step further, so decoding, inference and drawing would follow each other however many threads
there are. ONNX Runtime and OpenVINO let go of the lock and do not need this.
"""

import contextlib
import multiprocessing
import signal
import threading
from typing import Optional

import numpy as np

from ppdet_lite.core.errors import UserError

CLOSE_SECONDS = 5.0


class EngineProcess:
    """Opens an engine in another process; `run` is that of the engine.

    Args:
        model_dir: folder of the export.
        options: arguments of `detector.open_engine` beside the files.
        shape: largest shape of `image`, which then goes through shared memory; None: every input
            goes through a pipe.

    Attributes:
        kernels, device, fixed_batch, input_names: those of the engine.

    Raises:
        UserError: what opening the engine raised there.
    """

    def __init__(self, model_dir, options: dict, shape: "Optional[tuple[int, ...]]" = None):
        self.path = model_dir
        context = multiprocessing.get_context("spawn")
        self._pipe, far_end = context.Pipe()
        shared = context.RawArray("f", int(np.prod(shape))) if shape else None
        self._memory = None if shared is None else np.frombuffer(shared, np.float32)
        self._process = context.Process(
            target=_serve, args=(far_end, shared, str(model_dir), options), daemon=True
        )
        with _interrupts_ignored():
            self._process.start()
        far_end.close()
        try:
            facts = self._answer()
        except BaseException:
            self._process.kill()  # Paddle prints its call stack when asked to end
            self._process.join()
            raise
        self.kernels, self.device = facts["kernels"], facts["device"]
        self.fixed_batch, self.input_names = facts["fixed_batch"], facts["input_names"]

    def run(self, inputs: "dict[str, np.ndarray]") -> "list[np.ndarray]":
        """Arrays by input name -> the graph's outputs in its order."""
        message = {name: inputs[name] for name in self.input_names}
        image = message.get("image")
        if self._memory is not None and image is not None and image.size <= self._memory.size:
            np.copyto(self._memory[: image.size].reshape(image.shape), image)
            message["image"] = image.shape
        try:
            self._pipe.send(message)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._gone() from error
        return self._answer()

    def close(self) -> None:
        """Ends the process; the engine cannot be used any more."""
        self._pipe.close()
        self._process.join(CLOSE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self):
        try:
            answer = self._pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._gone() from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _gone(self) -> UserError:
        self._process.join(CLOSE_SECONDS)
        code = self._process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return UserError(
            f"{self.path}: the process of the network ended ({how}; signal 9 often means that the "
            "memory was used up)"
        )


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


def _serve(pipe, shared, model_dir: str, options: dict) -> None:
    """What the other process does: opens the engine and answers until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it was not inherited
    from detector import open_engine
    from model_folder import ModelFolder

    memory = None if shared is None else np.frombuffer(shared, np.float32)
    try:
        engine = open_engine(ModelFolder(model_dir, options["engine"]), **options)
    except Exception as error:  # raised again in the first process
        pipe.send(_sendable(error))
        return
    names = ("kernels", "device", "fixed_batch", "input_names")
    pipe.send({name: getattr(engine, name) for name in names})
    while True:
        try:
            inputs = pipe.recv()
        except EOFError:
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
    """Errors of users as they are; others with their type in words, since not all can be sent."""
    return (
        error if isinstance(error, UserError) else RuntimeError(f"{type(error).__name__}: {error}")
    )
