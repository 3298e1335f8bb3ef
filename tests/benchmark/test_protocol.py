"""The protocol with engines that only count, and a clock that they move."""

import cv2
import numpy as np
import pytest

from ppdet_lite.benchmark.operator_times import operator_times
from ppdet_lite.benchmark.protocol import PARTS, MeasuredEngine, NoEngine, Protocol, matrix_peak
from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.pixels.image_ops import Preprocess

PREPROCESS = Preprocess([{"type": "Resize", "target_size": [64, 96], "keep_ratio": False}])


class Bench:
    """A log of what is asked of engines, and the time that it takes."""

    def __init__(self):
        self.log, self.now = [], 0.0

    def protocol(self, repeats, warmup=1):
        """Without waiting and with a peak of 100 GFLOP/s."""
        return Protocol(
            repeats, warmup, self.log.append, lambda: self.now, lambda: None, lambda: 100.0
        )

    def engine(self, name, seconds=0.0, stages=("raw", "nms"), device="CPU"):
        """An engine with stages of equal time."""
        opened = {stage: CountingEngine(f"{name} {stage}", self, seconds) for stage in stages}
        return MeasuredEngine(name, opened, device)


class CountingEngine:
    gpu = None

    def __init__(self, name, bench, seconds):
        self.name, self.bench, self.seconds = name, bench, seconds
        self.shapes = []

    def bind(self, inputs):
        self.shapes.append(inputs["image"].shape)
        self.bench.now += 1.0

    def execute(self):
        self.bench.log.append(self.name)
        self.bench.now += self.seconds

    def synchronize(self):
        self.bench.now += 0.001 * (self.bench.log[-1:] == [self.name])

    def outputs(self):
        self.bench.log.append(f"{self.name} out")
        self.bench.now += 0.002


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def jpegs(tmp_path):
    paths = [tmp_path / f"{index}.jpg" for index in range(2)]
    for index, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((48, 64, 3), 90 * index, np.uint8))
    return paths


def test_engines_take_turns_and_each_starts_once(bench, jpegs):
    entries, log = [bench.engine("a"), bench.engine("b")], bench.log
    result = bench.protocol(3, 2).run(entries, PREPROCESS, jpegs, {})
    warm = log.index("round 1 of 3")
    assert log[:warm].count("a raw") == log[:warm].count("b nms") == 2
    assert "a nms out" not in log[:warm]
    round_of_a = ["a raw", "a nms", "a nms", "a nms out"]
    round_of_b = ["b raw", "b nms", "b nms", "b nms out"]
    assert log[warm:] == [
        *("round 1 of 3", *round_of_a, *round_of_b),
        *("round 2 of 3", *round_of_b, *round_of_a),
        *("round 3 of 3", *round_of_a, *round_of_b),
    ]
    assert result.input_hw == (64, 96)
    assert entries[0].stages["nms"].shapes == [(1, 3, 64, 96)] * 7
    for entry in entries:
        assert set(entry.times) == {"raw", "nms", "end to end"} and set(entry.parts) == set(PARTS)
        assert {len(values) for values in [*entry.times.values(), *entry.parts.values()]} == {3}
    assert result.peaks == [100.0] * 3 and result.peak == 100


def test_times_are_those_of_the_engine(bench, jpegs):
    """20 ms and 1 ms of waiting; copying the inputs (1 s) is no part of the network."""
    slow = bench.engine("slow", 0.02)
    bench.protocol(3).run([slow], PREPROCESS, jpegs, {})
    assert slow.summary("raw") == slow.summary("nms") == pytest.approx((21, 21, 21))
    np.testing.assert_allclose(slow.times["end to end"], 1000 + 21 + 2)
    assert {name: slow.parts[name][0] for name in PARTS} == pytest.approx(
        {"jpeg": 0, "preprocess": 0, "input": 1000, "network + NMS": 21, "output": 2}
    )
    assert slow.summary("decoded") is None and slow.best("decoded") is None


def test_the_peak_is_the_cpus(bench, jpegs):
    result = bench.protocol(2).run([bench.engine("gpu", device="GPU")], PREPROCESS, jpegs, {})
    assert result.peaks == [] and result.peak is None
    assert 0.05 < matrix_peak((64, 128), 2) < 1e5


def test_an_engine_that_fails_is_left_out(bench, jpegs):
    class Failing(CountingEngine):
        def execute(self):
            raise RuntimeError("no such\nkernel")

    bad = MeasuredEngine("bad", {"raw": Failing("bad", bench, 0)})
    good, left_out = bench.engine("good"), {}
    result = bench.protocol(1).run([bad, good], PREPROCESS, jpegs, left_out)
    assert result.engines == [good]
    assert result.left_out == left_out == {"bad": "RuntimeError: no such kernel"}
    with pytest.raises(NoEngine, match="bad: RuntimeError: no such kernel"):
        bench.protocol(1).run([bad], PREPROCESS, jpegs, {})


def test_a_broken_image_is_named(bench, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=str(path)):
        bench.protocol(1).run([bench.engine("a")], PREPROCESS, [path], {})


def test_operator_times_of_a_product():
    import paddle

    x = paddle.ones([256, 256])
    times = operator_times(lambda: paddle.matmul(x, x), runs=2)
    ((name, milliseconds),) = times.items()
    assert name.startswith("matmul") and 0 < milliseconds < 1000
