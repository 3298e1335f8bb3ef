"""The base class of engines and the error that they raise."""

import contextlib
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Iterator, Optional

import numpy as np

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.runtime.engines.cuda_driver import CudaDevice

Arrays = dict[str, np.ndarray]


class EngineError(UserError):
    """An engine cannot load or run a file.

    Attributes:
        graph: the file.
        problem: the message without the path.
    """

    def __init__(self, graph: Path, problem: str):
        super().__init__(f"{graph}: {problem}")
        self.graph, self.problem = graph, problem

    def __reduce__(self) -> tuple[Any, ...]:  # it may come from another process
        return type(self), (self.graph, self.problem)


class Engine(ABC):
    """An exported network that is loaded: arrays in, arrays out.

    `run` does all, in any number of threads, which take turns. `bind`, `execute`, `synchronize` and
    `outputs` are its steps, for timing in one thread.

    Attributes:
        graph: the file that was loaded.
        kernels: name of the kernels, for people.
        device: that was asked for, one of `options.DEVICES`.
        runs_on: what computes once the network is loaded, as the engine's library names it:
            "CUDAExecutionProvider", "GPU.0", "gpu:0".
        input_names: of the graph, in its order.
        fixed_batch: the only batch size that it takes; None where it takes any.
        failures: the kinds of errors of the engine's library.
        gpu: the GPU in whose stream the network runs, for its clock; None where that is not known.
    """

    graph: Path
    kernels: str
    device: str
    runs_on: str
    input_names: list[str]
    fixed_batch: Optional[int] = None
    failures: ClassVar[tuple[type[Exception], ...]] = ()
    gpu: Optional[CudaDevice] = None

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._inputs: Arrays = {}
        self._outputs: list[np.ndarray] = []

    def run(self, inputs: Arrays) -> list[np.ndarray]:
        """Arrays by input name, more than needed are allowed -> the outputs in their order.

        Raises:
            EngineError: the engine cannot run the graph on them.
        """
        with self._turn:
            return self._run_alone(inputs)

    def _run_alone(self, inputs: Arrays) -> list[np.ndarray]:
        with self.errors():
            self.bind(inputs)
            self.execute()
            return self.outputs()

    def bind(self, inputs: Arrays) -> None:
        """Takes the inputs of the next run; on a device they are copied to it."""
        self._inputs = {name: np.ascontiguousarray(inputs[name]) for name in self.input_names}

    @abstractmethod
    def execute(self) -> None:
        """Runs the network on what was bound last."""

    def synchronize(self) -> None:  # noqa: B027, most have nothing to wait for
        """Waits until all is computed, where `execute` does not."""

    def outputs(self) -> list[np.ndarray]:
        """Results of the last `execute`."""
        return self._outputs

    def close(self) -> None:  # noqa: B027, most have nothing to end
        """Frees the resources of the engine, which cannot run any more."""

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Context in which errors of the engine's library become an EngineError."""
        try:
            yield
        except UserError:  # says already what to do
            raise
        except self.failures as error:
            raise EngineError(self.graph, self.problem(" ".join(str(error).split()))) from error

    def problem(self, reason: str) -> str:
        """The text of an EngineError for a message of the library, given in one line."""
        return f"{self.kernels} cannot run this model: {shortened(reason)}"


def shortened(reason: str, length: int = 250, keeps_end: bool = False) -> str:
    """At most `length` characters of a line, in whole words, of its start or its end."""
    if len(reason) <= length:
        return reason
    if keeps_end:
        end = reason[-length:]
        return f"... {end.partition(' ')[2] or end}"
    start = reason[:length]
    return f"{start.rpartition(' ')[0] or start} ..."


def stack_samples(samples: list[Arrays]) -> Arrays:
    """Preprocessed images as a batch; a single one is not copied."""
    if len(samples) == 1:
        return {key: value[None] for key, value in samples[0].items()}
    shapes = {sample["image"].shape for sample in samples}
    if len(shapes) > 1:
        raise ConfigError(
            f"images of different network input sizes {sorted(s[1:] for s in shapes)} cannot be "
            "one batch: use `batch_size` 1"
        )
    return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
