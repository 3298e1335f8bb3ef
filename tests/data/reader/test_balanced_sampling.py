"""Samples that come more often: how often, the same in every run, with pixels of their own."""

import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.reader.order import BatchOrder, with_copies
from tests.data.readers import SmallDataset, train_reader


class Balanced(SmallDataset):
    factors = np.array([3.0, 1.0, 1.4, 0.0, 1.25] + [1.0] * 8)

    def repeat_factors(self):
        return self.factors


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Balanced(tmp_path_factory.mktemp("images"))


def test_samples_come_as_often_as_their_factors_say():
    factors = np.array([1.0, 2.7, 1.3, 0.5, 4.0, 1.9, 1.05])
    indices, epochs = np.array([2, 3, 5, 7, 8, 9, 10]), 2000
    counts = np.zeros((epochs, 7))
    for epoch in range(epochs):
        samples = with_copies(indices, factors, 20, 1, epoch)
        assert len(samples) == int(factors.sum()) and len(set(samples)) == len(samples)
        counts[epoch] = (samples[:, None] % 20 == indices).sum(axis=0)
    assert (np.abs(counts - factors) < 1).all()  # rounded up or down
    # 12.45 samples on average are 12, so that the mean falls short by 0.45 of 12.45 at most
    np.testing.assert_allclose(counts.mean(axis=0), factors, atol=0.16)
    assert (counts.mean(axis=0)[[0, 4]] == [1, 4]).all()
    whole = with_copies(indices, np.ones(7), 20, 1, 0)
    np.testing.assert_array_equal(whole, indices)


def test_copies_depend_on_seed_and_epoch_only():
    factors, indices = np.linspace(1, 3, 50), np.arange(50)
    draws = [with_copies(indices, factors, 50, *key) for key in ((1, 0), (1, 0), (1, 1), (2, 0))]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert len({draw.tobytes() for draw in draws}) == 3


def test_processes_share_an_epoch_out():
    samples = with_copies(np.arange(50), np.linspace(1, 3, 50), 50, 1, 4)
    orders = [BatchOrder(4, True, False, True, 1, rank, 3) for rank in range(3)]
    parts = [order.batches(samples, 4) for order in orders]
    assert sorted(np.concatenate(sum(parts, []))) == sorted(samples)
    assert len({len(part) for part in parts}) == 1


def everything(reader, epoch, start=0):
    batches = [{k: np.array(v) for k, v in b.items()} for b in reader.batches(epoch, start)]
    reader.close()
    return batches


def same(batches, others):
    assert len(batches) == len(others) > 0
    for batch, other in zip(batches, others):
        assert batch.keys() == other.keys()
        for key, value in batch.items():
            np.testing.assert_array_equal(value, other[key], err_msg=key)


@pytest.mark.parametrize("epoch", [0, 3])
def test_the_same_with_workers_and_after_a_resume(dataset, epoch):
    reader = train_reader(dataset)
    assert len(reader) == int(Balanced.factors.sum()) // 3
    batches = everything(reader, epoch)
    same(batches, everything(reader.bound(worker_num=2), epoch))
    same(batches[2:], everything(reader.bound(worker_num=2), epoch, start=2))
    same(batches, everything(reader.bound(worker_num=2, epochs=9), epoch))


def test_copies_have_pixels_of_their_own_and_partners_are_balanced(dataset):
    reader = train_reader(dataset, batch_size=1, shuffle=False, mixup_epoch=-1)
    batches = everything(reader, 0)
    ids = [int(batch["im_id"].reshape(-1)[0]) for batch in batches]
    assert ids.count(100) == 3 and 103 not in ids
    images = {b["image"].tobytes() for b, number in zip(batches, ids) if number == 100}
    assert len(images) == 3
    heavy = Balanced.__new__(Balanced)
    heavy.paths, heavy.factors = dataset.paths, np.array([1.0] + [0.0] * 11 + [99.0])
    build = train_reader(heavy)._builder(0)
    rng = np.random.default_rng(0)
    drawn = [build._any_index(rng) % len(heavy) for _ in range(200)]
    assert drawn.count(12) > 190


def test_factors_of_another_length_are_refused(dataset):
    short = Balanced.__new__(Balanced)
    short.paths, short.factors = dataset.paths, np.ones(3)
    with pytest.raises(DataError, match=r"repeat_factors: found an array of \[3\], allowed: 13"):
        len(train_reader(short))
