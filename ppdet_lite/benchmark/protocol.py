"""How fast an exported network is in several engines, measured as the papers of this family do.

The protocol of Tables 1 and 2 of the PP-YOLOv2 paper (arXiv:2104.10419): one image at a time,
warm-up first, the network without decoding its boxes and without NMS. Beside that: with decoding,
with NMS, and from the JPEG file to the boxes. The engines take turns, round by round, so that
whatever else the machine does hits them alike; every round also measures the machine's peak in
float32 matrix products, the roof for any network on this processor.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import UserError
from ppdet_lite.data.pixels.image_ops import Preprocess, decode_image

PARTS = ("jpeg", "preprocess", "input", "network + NMS", "output")
"""Of the way from a file to boxes."""

PEAK_SIZES = (1024, 1536)
"""Sides of the square matrices whose products are tried for the peak; the best one counts."""

PAUSE_SECONDS = 0.3
"""Between engines: worker threads of the last one go on looking for work for about 0.2 s."""


class Summary(NamedTuple):
    """Milliseconds over the rounds."""

    median: float
    p5: float
    p95: float


def summarize(milliseconds: Sequence[float]) -> Summary:
    """Median, 5th and 95th percentile."""
    low, median, high = np.percentile(np.asarray(milliseconds, np.float64), [5, 50, 95])
    return Summary(float(median), float(low), float(high))


@dataclass
class Contestant:
    """An engine with the export's stages opened in it.

    Attributes:
        name: as in the option --engines.
        engines: stage -> an engine of deploy/python (`bind`, `execute`, `synchronize`, `outputs`).
        device: "CPU" or "GPU".
        times: stage -> milliseconds of each round; "end to end" as well.
        parts: milliseconds of each of PARTS, round by round, of end to end.
        operators: milliseconds of the network by kind of operator, where that is known.
        target: what its exports were made for: "any", or "cpu".
    """

    name: str
    engines: dict
    device: str = "CPU"
    times: dict[str, list[float]] = field(default_factory=dict)
    parts: dict[str, list[float]] = field(default_factory=dict)
    operators: dict[str, float] = field(default_factory=dict)
    target: str = "any"

    def summary(self, column: str) -> Optional[Summary]:
        """Of a stage or of "end to end"; None where it was not measured."""
        values = self.times.get(column)
        return summarize(values) if values else None

    def best(self, column: str) -> Optional[float]:
        """Milliseconds of the fastest round: other work on the machine only makes rounds slower."""
        values = self.times.get(column)
        return min(values) if values else None

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
        return sum(self.beside_the_network().values()) if self.beside_the_network() else None

    @property
    def unrest(self) -> float:
        """By which share slow rounds (95th percentile) took longer than fast ones (5th)."""
        raw = self.summary("raw")
        return raw.p95 / raw.p5 - 1 if raw else 0.0


@dataclass
class Result:
    """All that one run of the benchmark measured.

    Attributes:
        contestants: those that ran.
        left_out: name of an engine -> why it did not run.
        peaks: GFLOP/s of matrix products, round by round; empty without a CPU engine.
        input_hw: height and width of the network input.
    """

    contestants: list[Contestant]
    left_out: dict[str, str]
    input_hw: tuple[int, int]
    peaks: list[float] = field(default_factory=list)

    @property
    def peak(self) -> Optional[float]:
        """The machine's GFLOP/s: the best round, because only other work makes a round slower."""
        return max(self.peaks) if self.peaks else None

    def find(self, name: str) -> Optional[Contestant]:
        """The engine of that name, if it ran."""
        return next((entry for entry in self.contestants if entry.name == name), None)


def run_benchmark(
    contestants: list[Contestant],
    preprocess: Optional[Preprocess],
    images: Sequence[Path],
    repeats: int,
    warmup: int,
    left_out: dict[str, str],
    pause: float = PAUSE_SECONDS,
    progress: Callable[[str], None] = print,
) -> Result:
    """Measures all engines in turns.

    Args:
        preprocess: None where no engine could be opened.
        images: JPEG files; round i takes number i, all engines the same one.
        repeats, warmup: counted rounds, and uncounted runs of each stage before them.
        left_out: name of an engine -> why it does not run; those that fail while they warm up
            are added.
        pause: seconds between engines.

    Raises:
        UserError: no engine ran.
        ImageError: an image that cannot be read.
    """
    _check_any(contestants, left_out)
    images = images[:repeats]  # no more are ever looked at
    samples = [_batch(preprocess(decode_image(path))) for path in images]
    contestants = [
        entry for entry in contestants if _warm_up(entry, samples[0], warmup, left_out, progress)
    ]
    _check_any(contestants, left_out)
    result = Result(contestants, left_out, samples[0]["image"].shape[2:])
    on_cpu = any(entry.device == "CPU" for entry in contestants)
    for index in range(repeats):
        progress(f"round {index + 1} of {repeats}")
        if on_cpu:
            time.sleep(pause)
            result.peaks.append(matrix_peak())
        number = index % len(images)
        # another first engine each time, so that none always follows the matrix products
        for entry in (
            contestants[index % len(contestants) :] + contestants[: index % len(contestants)]
        ):
            time.sleep(pause)
            _measure_round(entry, samples[number], images[number], preprocess)
    return result


def _check_any(contestants: list[Contestant], left_out: dict[str, str]) -> None:
    """Raises:
    UserError: no engine is left; with the reason of each.
    """
    if not contestants:
        reasons = "".join(f"\n  {name}: {why}" for name, why in left_out.items())
        raise UserError(f"no engine can be measured here:{reasons}")


def _batch(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: value[None] for key, value in sample.items()}


def _warm_up(
    entry: Contestant, sample: dict, runs: int, left_out: dict[str, str], progress: Callable
) -> bool:
    """Whether the engine runs the network; if not, the reason goes to `left_out`."""
    progress(f"warming up {entry.name}")
    try:
        for engine in entry.engines.values():
            for _ in range(runs):
                _time_network(engine, sample)
    except Exception as error:  # the errors of the engines have no common base class
        left_out[entry.name] = " ".join(f"{type(error).__name__}: {error}".split())[-250:]
        return False
    return True


def _measure_round(entry: Contestant, sample: dict, image: Path, preprocess: Preprocess) -> None:
    for stage, engine in entry.engines.items():
        entry.times.setdefault(stage, []).append(_time_network(engine, sample))
    if "nms" in entry.engines:
        parts = _time_end_to_end(entry.engines["nms"], image, preprocess)
        for name, value in parts.items():
            entry.parts.setdefault(name, []).append(value)
        entry.times.setdefault("end to end", []).append(sum(parts.values()))


def _time_network(engine, sample: dict) -> float:
    """Milliseconds of the graph alone; the input is on the device before."""
    engine.bind(sample)
    engine.synchronize()
    start = time.perf_counter()
    engine.execute()
    engine.synchronize()
    return 1000 * (time.perf_counter() - start)


def _time_end_to_end(engine, path: Path, preprocess: Preprocess) -> dict[str, float]:
    """Milliseconds of each part from the JPEG file to detections in memory."""
    times = [time.perf_counter()]
    image = decode_image(path)
    times.append(time.perf_counter())
    sample = _batch(preprocess(image))
    times.append(time.perf_counter())
    engine.bind(sample)
    times.append(time.perf_counter())
    engine.execute()
    engine.synchronize()
    times.append(time.perf_counter())
    engine.outputs()
    times.append(time.perf_counter())
    return dict(zip(PARTS, (1000 * np.diff(times)).tolist()))


def matrix_peak(sizes: Sequence[int] = PEAK_SIZES, repeats: int = 2) -> float:
    """GFLOP/s of float32 matrix products in this moment: the best of numpy's and Paddle's library,
    of several sizes and repeats."""
    import paddle

    rng = np.random.default_rng(0)
    best = 0.0
    for side in sizes:
        a, b = (rng.standard_normal((side, side), np.float32) for _ in range(2))
        products = [lambda a=a, b=b: a @ b]
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
