"""The time of a network that is loaded: by the clock of this machine, and by the device's own."""

import time
from typing import Callable, NamedTuple

from ppdet_lite.runtime.engines.cuda_driver import CudaTimer
from ppdet_lite.runtime.engines.engine import Arrays, Engine


class RunTimes(NamedTuple):
    """Milliseconds of each run.

    Attributes:
        host_ms: from the call to the end of the computation, by the clock of this machine.
        device_ms: between events in the device's queue; empty where the engine gives none.
    """

    host_ms: list[float]
    device_ms: list[float]


def time_network(
    engine: Engine,
    sample: Arrays,
    repeats: int,
    warmup: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> RunTimes:
    """Times runs of the graph alone; the inputs are on the device before, and stay there."""
    engine.bind(sample)
    for _ in range(warmup):
        engine.execute()
    engine.synchronize()
    times = RunTimes([], [])
    timer = None if engine.gpu is None else CudaTimer(engine.gpu)
    for _ in range(repeats):
        start = clock()
        if timer is not None:
            timer.start()
        engine.execute()
        if timer is not None:
            timer.stop()
        engine.synchronize()
        times.host_ms.append(1000 * (clock() - start))
        if timer is not None:
            times.device_ms.append(timer.milliseconds())
    if timer is not None:
        timer.close()
    return times
