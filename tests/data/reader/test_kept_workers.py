"""Workers that live over the epochs of a training, and build ahead over their borders."""

import multiprocessing
import os
import signal

import pytest

from ppdet_lite.core.errors import DataError
from tests.data.readers import assert_same_batches, train_reader

EPOCHS = 5


def pids():
    return {process.pid for process in multiprocessing.active_children()}


def kept(dataset, **settings):
    return train_reader(dataset, mixup_epoch=2, **settings).bound(epochs=100)


@pytest.fixture
def alone(dataset):
    """Every epoch's batches, made in this process; mixup ends with epoch 1."""
    reader = train_reader(dataset, mixup_epoch=2)
    return [list(reader.batches(epoch)) for epoch in range(EPOCHS)]


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_same_batches_by_the_same_workers(dataset, alone, workers):
    reader, seen = kept(dataset, worker_num=workers), []
    for epoch in range(EPOCHS):
        assert_same_batches(alone[epoch], reader.batches(epoch))
        seen.append(pids())
    assert len(seen[0]) == workers and seen[1:] == [seen[0]] * (EPOCHS - 1)
    reader.close()
    assert not pids()


def test_a_training_that_leaves_batches_and_one_that_is_resumed(dataset, alone):
    reader = kept(dataset, worker_num=2)
    for epoch in range(2):  # the loop asks for three of the four
        batches = reader.batches(epoch, start=1 - epoch)
        assert_same_batches(alone[epoch][1 - epoch : 3], [next(batches) for _ in range(2 + epoch)])
        before = pids()
        batches.close()
        assert pids() == before != set()
    reader.close()
    resumed = kept(dataset, worker_num=2)
    assert_same_batches(alone[1][2:], resumed.batches(1, start=2))
    assert_same_batches(alone[2], resumed.batches(2))
    resumed.close()


def test_the_workers_end_with_the_last_epoch(dataset, alone):
    reader = train_reader(dataset, mixup_epoch=2, worker_num=3).bound(epochs=2)
    for epoch in range(2):
        assert_same_batches(alone[epoch], reader.batches(epoch))
    assert not pids()
    assert_same_batches(alone[2], reader.batches(2))  # beyond it there are others
    assert not pids()


def test_another_place_starts_other_workers(dataset, alone):
    reader = kept(dataset, worker_num=2)
    for epoch in (0, 3, 3, 1, 4):  # as after a run that goes back
        assert_same_batches(alone[epoch], reader.batches(epoch))
        assert len(pids()) == 2
    half = reader.batches(0)
    next(half)
    half.close()
    assert_same_batches(alone[0][1:], reader.batches(0, start=1))  # goes on
    assert_same_batches(alone[2][:2], reader.batches(2, stop=2))  # by workers for these alone
    assert not pids()


def test_a_worker_that_dies_between_two_epochs(dataset):
    reader = kept(dataset, worker_num=2)
    list(reader.batches(0))
    (victim, *_) = pids()
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(
        DataError, match=rf"\(process {victim}\) was killed by signal 9 .*epoch [12] "
    ):
        for epoch in (1, 2):
            list(reader.batches(epoch))
    assert not pids()


def test_an_error_in_a_batch_built_ahead_waits_for_its_epoch(dataset, alone):
    class Fails:
        def __call__(self, sample, context=None):
            if context.epoch == 1:
                raise DataError("not this one")
            return sample

    reader = train_reader(dataset, mixup_epoch=2, extra_sample=[Fails()], worker_num=2)
    reader = reader.bound(epochs=EPOCHS)
    assert len(list(reader.batches(0))) == 4
    with pytest.raises(DataError, match="not this one"):
        next(reader.batches(1))
    assert not pids()
