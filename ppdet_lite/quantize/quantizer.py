"""The contract of libraries that make INT8 files."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Callable, ClassVar, NamedTuple, Optional, Sequence

import numpy as np

from ppdet_lite.export.calibration import Calibration
from ppdet_lite.runtime.engines.engine import Arrays

Network = Callable[[Arrays], list[np.ndarray]]
"""A network that is loaded: inputs by name -> outputs in their order."""


class AccuracyControl(NamedTuple):
    """Layers return to float one by one until no more AP is lost than allowed.

    Attributes:
        max_drop: AP that may be lost, 0 to 1.
        images: number of labeled images.
        average_precision: AP of a network on the images of these indices, 0 to 1.
    """

    max_drop: float
    images: int
    average_precision: Callable[[Network, Sequence[int]], float]


class Written(NamedTuple):
    """Facts about an INT8 file, for infer_cfg.yml and people.

    Attributes:
        library: name and version of what made it.
        float32_layers: names of the convolutions that stay in float32.
        int8_layers: number of the others.
    """

    library: str
    float32_layers: list[str]
    int8_layers: int

    def content(self) -> dict[str, Any]:
        """The entry in infer_cfg.yml."""
        return self._asdict()


class Quantizer(ABC):
    """Makes the INT8 file of one engine.

    Attributes:
        engine: that runs it, one of `runtime.options.INT8_ENGINES`.
        checked_by: the engine that computes its AP here, on the CPU.
        runs_on_cpus: False if the time of `checked_by` says nothing about `engine`.
        stage: end of the graph where none is chosen, one of `runtime.contract.STAGES`.
        has_accuracy_control: True if it heeds `AccuracyControl`.
    """

    engine: ClassVar[str]
    checked_by: ClassVar[str]
    runs_on_cpus: ClassVar[bool] = True
    stage: ClassVar[str] = "nms"
    has_accuracy_control: ClassVar[bool] = False

    @abstractmethod
    def requirements(self) -> None:
        """Raises a UserError if a package is missing."""

    @abstractmethod
    def write(
        self,
        graph: Path,
        images: Calibration,
        folder: Path,
        control: Optional[AccuracyControl] = None,
    ) -> Written:
        """Writes the files of `runtime.contract.INT8_FILES` for the engine into `folder`.

        Args:
            graph: the .onnx in float32.
            images: on which the ranges of values are learned.

        Raises:
            UserError: the library cannot quantize the graph.
            OSError: the files cannot be written.
        """
