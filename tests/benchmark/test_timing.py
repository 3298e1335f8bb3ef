"""Times of a network by the host's clock, and by that of a device."""

import time

import numpy as np
import pytest

from ppdet_lite.benchmark.timing import time_network
from ppdet_lite.runtime.engines.cuda_driver import CudaDevice
from ppdet_lite.runtime.engines.engine import Engine
from tests.runtime.gpu_fakes import FakeDriver


class SleepingEngine(Engine):
    """Takes 3 ms, of which 2 in waiting for the device."""

    input_names = ["image"]

    def __init__(self, gpu=None):
        super().__init__()
        self.runs, self.gpu = 0, gpu

    def execute(self):
        self.runs += 1
        time.sleep(0.001)

    def synchronize(self):
        time.sleep(0.002)


def test_times_of_the_host():
    engine = SleepingEngine()
    times = time_network(engine, {"image": np.zeros(2)}, 4, warmup=3)
    assert len(times.host_ms) == 4 and min(times.host_ms) >= 3 and engine.runs == 7
    assert times.device_ms == []


def test_times_of_a_device():
    """Its events are recorded around each run, in the stream of the engine."""
    driver = FakeDriver()
    times = time_network(SleepingEngine(CudaDevice(driver)), {"image": np.zeros(2)}, 3)
    assert times.device_ms == pytest.approx([1.5] * 3) and len(times.host_ms) == 3
    assert driver.events == {} and driver.depth == 0
    assert driver.calls.count("cuEventSynchronize") == 3
