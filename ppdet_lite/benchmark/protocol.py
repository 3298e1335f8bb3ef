"""The speed of an exported network in several engines, measured as the papers of this family do.

The protocol of Tables 1 and 2 of the PP-YOLOv2 paper (arXiv:2104.10419): one image at a time,
warm-up first, the network without decoding its boxes and without NMS. Beside that: with decoding,
with NMS, and from the JPEG file to the boxes; several images at once; other detectors. The engines
take turns, round by round, so that whatever else the machine does hits them alike; every round also
measures the machine's peak in float32 matrix products, the roof for any network on this processor.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Sequence

import numpy as np

from ppdet_lite.benchmark.timing import time_network
from ppdet_lite.core.errors import UserError
from ppdet_lite.data.pixels.image_ops import Preprocess, decode_image
from ppdet_lite.runtime.engines.engine import Arrays, Engine, stack_samples

END_TO_END = "end to end"
"""Beside the stages: from the JPEG file to boxes."""

PARTS = ("jpeg", "preprocess", "input", "network + NMS", "output")
"""Of the way from a file to boxes."""

PEAK_SIZES = (1024, 1536)
"""Sides of the square matrices whose products are tried for the peak; the best one counts."""

PAUSE_SECONDS = 0.3
"""Between engines: worker threads of the last one go on looking for work for about 0.2 s."""


class NoEngine(UserError):
    """No engine can be measured here, with the reason of each."""

    def __init__(self, left_out: dict[str, str]):
        reasons = "".join(f"\n  {name}: {why}" for name, why in left_out.items())
        super().__init__(f"no engine can be measured here:{reasons}")


class Summary(NamedTuple):
    """Milliseconds over the rounds: median, 5th and 95th percentile."""

    median: float
    p5: float
    p95: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Summary:
        """The percentiles of rounds."""
        return cls(*np.percentile(np.asarray(milliseconds, np.float64), [50, 5, 95]).tolist())


@dataclass
class MeasuredEngine:
    """An engine of `engines.ENGINES` with an export's stages opened in it, and what was measured.

    Attributes:
        stages: stage -> an engine of `runtime`.
        target: what its exports were made for: "any", or "cpu".
        runs_on: what computes, see `runtime.engines.engine.Engine`; empty for unknown.
        model: another detector, beside which the network is measured; empty for the network.
        inputs: of another detector; None for the images.
        times: stage or `END_TO_END` -> milliseconds of each round.
        device_times: the same by the clock of the device, where the engine has one.
        parts: milliseconds of each of `PARTS`, round by round.
        operators: milliseconds of the network by kind of operator, where that is known.
    """

    name: str
    stages: dict[str, Engine]
    device: str = "CPU"
    target: str = "any"
    runs_on: str = ""
    model: str = ""
    inputs: Optional[Arrays] = None
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    device_times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    parts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    operators: dict[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The title, and what ran."""
        return f"{self.title} ({self.runs_on})" if self.runs_on else self.title

    @property
    def title(self) -> str:
        """The name, unlike that of any other row."""
        return f"{self.model} in {self.name}" if self.model else self.name

    def summary(self, column: str) -> Optional[Summary]:
        """Summary of one key of `times`; None if it was not measured."""
        return Summary.of(self.times[column]) if self.times.get(column) else None

    def best(self, column: str) -> Optional[float]:
        """Milliseconds of the fastest round: other work on the machine only makes rounds slower."""
        return min(self.times.get(column, ()), default=None)

    def beside_the_network(self) -> dict[str, float]:
        """Milliseconds of each part from file to boxes that is not the network, fastest rounds;
        empty where that was not measured."""
        raw = self.best("raw")
        if raw is None or not self.parts:
            return {}
        parts = {name: min(values) for name, values in self.parts.items()}
        both = min([parts.pop("network + NMS"), *self.times.get("nms", ())])
        parts["decode + NMS"] = max(both - raw, 0.0)  # below 0 only by chance
        return parts

    @property
    def overhead(self) -> Optional[float]:
        """The sum of `beside_the_network`."""
        return sum(self.beside_the_network().values()) or None

    @property
    def unrest(self) -> float:
        """By which share slow rounds (95th percentile) took longer than fast ones (5th)."""
        raw = self.summary("raw")
        return raw.p95 / raw.p5 - 1 if raw else 0.0


@dataclass
class InferenceTimes:
    """All that one run of the benchmark measured.

    Attributes:
        left_out: title of an engine -> why it did not run.
        peaks: GFLOP/s of matrix products, round by round; empty without a CPU engine.
        batch: images at once; all times are those of a batch.
    """

    engines: list[MeasuredEngine]
    left_out: dict[str, str]
    input_hw: tuple[int, int]
    peaks: list[float] = field(default_factory=list)
    batch: int = 1

    @property
    def peak(self) -> Optional[float]:
        """The machine's GFLOP/s: the best round, because only other work makes a round slower."""
        return max(self.peaks, default=None)

    @property
    def unrest(self) -> float:
        """The largest of the engines."""
        return max((entry.unrest for entry in self.engines), default=0.0)

    def find(self, name: str) -> Optional[MeasuredEngine]:
        """The engine of that title, if it ran."""
        return next((entry for entry in self.engines if entry.title == name), None)


def matrix_peak(sizes: Sequence[int] = PEAK_SIZES, repeats: int = 2) -> float:
    """GFLOP/s of float32 matrix products in this moment, the best of numpy's and Paddle's."""
    import paddle

    rng = np.random.default_rng(0)
    best = 0.0
    for side in sizes:
        a, b = (rng.standard_normal((side, side), np.float32) for _ in range(2))
        products: list[Callable] = [lambda a=a, b=b: a @ b]
        if paddle.get_device() == "cpu":
            x, y = paddle.to_tensor(a), paddle.to_tensor(b)
            products.append(lambda x=x, y=y: paddle.matmul(x, y))
        for product in products:
            product()
            for _ in range(repeats):
                start = time.perf_counter()
                product()
                best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best / 1e9


@dataclass
class Protocol:
    """The rounds; see the module.

    Attributes:
        repeats, warmup: counted rounds, and uncounted runs of each stage before them.
        say: takes lines about the progress.
        clock: seconds.
        pause: waits between engines.
        peak: GFLOP/s of the machine.
        batch: images at once; a batch holds one image so many times.
    """

    repeats: int = 20
    warmup: int = 3
    say: Callable[[str], None] = print
    clock: Callable[[], float] = time.perf_counter
    pause: Callable[[], None] = lambda: time.sleep(PAUSE_SECONDS)
    peak: Callable[[], float] = matrix_peak
    batch: int = 1

    def run(
        self,
        engines: list[MeasuredEngine],
        preprocess: Preprocess,
        images: Sequence[Path],
        left_out: dict[str, str],
    ) -> InferenceTimes:
        """Measures all engines in turns.

        Args:
            images: JPEG files; round i takes number i, all engines the same one.
            left_out: title of an engine -> why it does not run; more are added while warming up.

        Raises:
            NoEngine: none ran.
            ImageError: an image that cannot be read.
        """
        images = images[: self.repeats]  # no more are ever looked at
        samples = [stack_samples([preprocess(decode_image(path))] * self.batch) for path in images]
        engines = [entry for entry in engines if self._runs(entry, samples[0], left_out)]
        if not engines:
            raise NoEngine(left_out)
        input_hw = samples[0]["image"].shape[2:]
        result = InferenceTimes(engines, left_out, input_hw, batch=self.batch)
        for index in range(self.repeats):
            self.say(f"round {index + 1} of {self.repeats}")
            if any(entry.device == "CPU" for entry in engines):
                self.pause()
                result.peaks.append(self.peak())
            # another first engine each time, so that none always follows the matrix products
            first, number = index % len(engines), index % len(images)
            for entry in engines[first:] + engines[:first]:
                self.pause()
                self._measure_round(entry, samples[number], images[number], preprocess)
        return result

    def _runs(self, entry: MeasuredEngine, sample: dict, left_out: dict[str, str]) -> bool:
        """Warms the engine up; if it cannot run the network, the reason goes to `left_out`."""
        self.say(f"warming up {entry.title}")
        try:
            for engine in entry.stages.values():
                time_network(engine, entry.inputs or sample, 0, self.warmup)
        except Exception as error:  # the errors of the engines have no common base class
            left_out[entry.title] = " ".join(f"{type(error).__name__}: {error}".split())[-250:]
            return False
        return True

    def _measure_round(
        self, entry: MeasuredEngine, sample: dict, image: Path, preprocess: Preprocess
    ) -> None:
        for stage, engine in entry.stages.items():
            times = time_network(engine, entry.inputs or sample, 1, clock=self.clock)
            entry.times[stage] += times.host_ms
            entry.device_times[stage] += times.device_ms
        if "nms" in entry.stages:
            parts = self._time_end_to_end(entry.stages["nms"], image, preprocess)
            for name, value in zip(PARTS, parts):
                entry.parts[name].append(value)
            entry.times[END_TO_END].append(sum(parts))

    def _time_end_to_end(self, engine: Engine, path: Path, preprocess: Preprocess) -> list[float]:
        """Milliseconds of each of `PARTS`, from the JPEG file to detections in memory."""
        times = [self.clock()]
        images = [decode_image(path) for _ in range(self.batch)]
        times.append(self.clock())
        sample = stack_samples([preprocess(image) for image in images])
        times.append(self.clock())
        engine.bind(sample)
        times.append(self.clock())
        engine.execute()
        engine.synchronize()
        times.append(self.clock())
        engine.outputs()
        times.append(self.clock())
        return (1000 * np.diff(times)).tolist()
