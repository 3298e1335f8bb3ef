"""Images of many requests in the runs of one network."""

import concurrent.futures
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from ppdet_lite.core.errors import UserError
from ppdet_lite.serve.batcher import Batcher


def sample(value, size=2):
    return {"image": np.full((3, size, size), value, np.float32)}


class Network:
    """Gives for every image one row with its value; fails for negative ones."""

    def __init__(self):
        self.runs, self.gate = [], threading.Event()
        self.gate.set()

    def __call__(self, samples):
        self.gate.wait(10)
        values = [float(one["image"][0, 0, 0]) for one in samples]
        assert len({one["image"].shape for one in samples}) == 1
        self.runs.append(values)
        if min(values) < 0:
            raise ValueError("negative")
        return [np.full((1, 6), value) for value in values]


@pytest.fixture
def batching():
    """batching(max_batch, max_wait_s): a network and its batcher."""
    made = []

    def make(max_batch=4, max_wait_s=0.0):
        network = Network()
        failures = []
        made.append(Batcher(network, max_batch, max_wait_s, on_failure=failures.append))
        return SimpleNamespace(network=network, batcher=made[-1], failures=failures)

    yield make
    for batcher in made:
        batcher.close()


def values(futures):
    return [float(one.result(10).rows[0, 0]) for one in futures]


def submit_behind_a_run(made, samples):
    """Futures of samples that came while the network was busy with another image."""
    made.network.gate.clear()
    first = made.batcher.submit(sample(0))
    while not first.running():
        time.sleep(0.001)
    futures = [made.batcher.submit(one) for one in samples]
    made.network.gate.set()
    return futures


def test_images_that_wait_share_runs_in_their_order(batching):
    made = batching(max_batch=4)
    futures = submit_behind_a_run(made, map(sample, range(1, 8)))
    assert values(futures) == [1, 2, 3, 4, 5, 6, 7]
    assert made.network.runs == [[0], [1, 2, 3, 4], [5, 6, 7]]
    assert [one.result().batch for one in futures] == [4, 4, 4, 4, 3, 3, 3]


def test_sizes_are_never_mixed_and_the_oldest_goes_first(batching):
    made = batching(max_batch=4)
    sizes = (2, 4, 2, 4, 6)
    futures = submit_behind_a_run(made, [sample(i + 1, size) for i, size in enumerate(sizes)])
    assert values(futures) == [1, 2, 3, 4, 5]
    assert made.network.runs == [[0], [1, 3], [2, 4], [5]]


def test_a_run_waits_for_others_no_longer_than_it_may(batching):
    made = batching(max_batch=2, max_wait_s=0.2)
    lone = made.batcher.submit(sample(1)).result(10)
    assert lone.batch == 1 and 0.15 < lone.queue_s < 5
    start = time.perf_counter()
    pair = [made.batcher.submit(sample(value)) for value in (2, 3)]
    assert values(pair) == [2, 3] and time.perf_counter() - start < 0.15  # full: no wait
    assert made.network.runs == [[1], [2, 3]]


def test_an_image_that_fails_takes_no_other_with_it(batching):
    made = batching(max_batch=4)
    futures = submit_behind_a_run(made, map(sample, (1, -1, 2)))
    assert values([futures[0], futures[2]]) == [1, 2]
    with pytest.raises(ValueError, match="negative"):
        futures[1].result(10)
    assert values([made.batcher.submit(sample(5))]) == [5]
    assert [str(error) for error in made.failures] == ["negative"]


def test_canceled_images_are_not_run(batching):
    made = batching(max_batch=4)
    made.network.gate.clear()
    first = made.batcher.submit(sample(0))
    while not first.running():
        time.sleep(0.001)
    futures = [made.batcher.submit(sample(value)) for value in (1, 2)]
    assert futures[0].cancel()
    made.network.gate.set()
    assert values(futures[1:]) == [2] and made.network.runs == [[0], [2]]


def test_canceled_images_fill_no_batch(batching):
    made = batching(max_batch=2, max_wait_s=60)
    assert made.batcher.submit(sample(1)).cancel()
    future = made.batcher.submit(sample(2))
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(0.1)
    assert made.batcher.submit(sample(3)).result(10).batch == 2 and values([future]) == [2]


def test_closing_finishes_what_was_submitted(batching):
    made = batching(max_batch=2, max_wait_s=60)
    futures = [made.batcher.submit(sample(value)) for value in (1, 2, 3)]
    made.batcher.close()
    assert values(futures) == [1, 2, 3] and not made.batcher.is_alive
    with pytest.raises(UserError, match="stopping"):
        made.batcher.submit(sample(4))
