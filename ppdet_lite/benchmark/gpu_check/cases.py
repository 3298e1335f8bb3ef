"""The cases of a GPU check: what is measured, the most important first."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Sequence

from ppdet_lite.benchmark.engines import ENGINES, Kind

REFERENCE_ENGINE = "onnxruntime"
"""Computes the boxes that all others are compared with, on the CPU in float32."""

URGENT = 8
"""Of the engines so many are measured on every network before anything else."""

JOBS = ("reference", "speed", "throughput", "other model", "training")


BUILD_SECONDS = 180.0
"""For engines that compile the network before its first run."""


def _builds(engine: str) -> bool:
    """True for TensorRT, however it is called."""
    return "tensorrt" in engine or engine.startswith("trt_")


@dataclass(frozen=True)
class Case:
    """One process of the check, and one row of its tables.

    Attributes:
        job: one of JOBS.
        network: a name of the network set, the name of another detector, or a configuration.
        engine: a name of `benchmark.engines.ENGINES`; the way of training for "training".
        seconds: after which the process is ended.
    """

    job: str
    network: str
    engine: str
    batch: int = 1
    seconds: float = 75.0

    @property
    def name(self) -> str:
        """Unlike those of all other cases."""
        return f"{self.job}: {self.network}, {self.engine}, batch {self.batch}"

    @property
    def device(self) -> str:
        """ "CPU" or "GPU"."""
        return ENGINES[self.engine].device if self.engine in ENGINES else "GPU"


@dataclass(frozen=True)
class Setup:
    """What all cases of a run share.

    Attributes:
        networks: folder of a network set, see `network_set`.
        images: photos.
        output: folder of the results.
        repeats, warmup: runs that count, and runs before them.
        threads: of the CPU, for the network and for the reader's processes.
        seconds: of each measurement of throughput.
        steps: of a training.
    """

    networks: Path
    images: tuple[Path, ...]
    output: Path
    repeats: int = 100
    warmup: int = 10
    threads: int = 1
    seconds: float = 5.0
    steps: int = 50

    def shortened(self) -> Setup:
        """The same for a dry run."""
        return replace(self, repeats=2, warmup=1, seconds=0.2, steps=2)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for another process."""
        given = asdict(self)
        paths = {"networks": str(self.networks), "output": str(self.output)}
        return {**given, **paths, "images": [str(path) for path in self.images]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Setup:
        """The setup that `as_dict` has written."""
        paths = {"networks": Path(values["networks"]), "output": Path(values["output"])}
        return cls(**{**values, **paths, "images": tuple(map(Path, values["images"]))})

    @property
    def references(self) -> Path:
        """Folder of the boxes of REFERENCE_ENGINE."""
        return self.output / "references"


@dataclass(frozen=True)
class Plan:
    """Names of what a run measures, in the order of their importance.

    Attributes:
        networks: of the network set, each with its batches; the first is the one that targets are
            about.
        engines: of ENGINES, the ones that targets are about first.
        throughput_engines: of `engines`, those measured from JPEG to boxes.
        others: other detectors of the network set, each with the precision of its file.
        trainings: ways of training, see `training.WAYS`.
        training_batch: images of a step.
    """

    networks: dict[str, Sequence[int]]
    engines: Sequence[str]
    throughput_engines: Sequence[str] = ()
    others: Mapping[str, str] = field(default_factory=dict)
    trainings: Sequence[str] = ()
    training_batch: int = 12

    def cases(self) -> list[Case]:
        """All cases. First what the targets need, network by network in each engine, then other
        engines, other detectors, trainings and larger batches; a run that is cut off loses the end
        of the list."""
        first, *_ = self.networks
        largest = max(self.networks[first])
        references = [
            Case("reference", name, REFERENCE_ENGINE, seconds=120.0) for name in self.networks
        ]
        speeds = [
            Case("speed", name, engine, batch, BUILD_SECONDS if _builds(engine) else 75.0)
            for engine in self.engines
            for name, batches in self.networks.items()
            for batch in batches
        ]
        through = [Case("throughput", first, name, largest) for name in self.throughput_engines]
        others = [
            Case("other model", other, name)
            for name in self.engines
            for other, precision in self.others.items()
            if ENGINES[name].kind == Kind("onnx") and ENGINES[name].asked_precision == precision
        ]
        trainings = [
            Case("training", first, way, self.training_batch, 150.0) for way in self.trainings
        ]
        single = [case for case in speeds if case.batch == 1]
        larger = [case for case in speeds if case.batch > 1]
        urgent = sum(1 for case in single if case.engine in self.engines[:URGENT])
        return [
            *(*references, *single[:urgent], *through, *others, *single[urgent:]),
            *(*trainings, *larger),
        ]
