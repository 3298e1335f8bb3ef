"""Times of several networks in one run, round by round, so that other work hits all alike."""

import time
from typing import Sequence

from ppdet_lite.benchmark.protocol import PAUSE_SECONDS
from ppdet_lite.benchmark.timing import time_network
from ppdet_lite.runtime.engines.engine import Arrays, Engine

WARMUP = 3


def time_in_turns(engines: Sequence[Engine], inputs: Arrays, repeats: int) -> list[list[float]]:
    """Milliseconds of every run of each engine."""
    for engine in engines:
        time_network(engine, inputs, 0, WARMUP)
    times: list[list[float]] = [[] for _ in engines]
    for _ in range(repeats):
        for engine, values in zip(engines, times):
            time.sleep(PAUSE_SECONDS)
            values += time_network(engine, inputs, 1, 1).host_ms
    return times
