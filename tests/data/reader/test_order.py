import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.reader.order import BatchOrder, batch_rng, sample_rng


def batches_of(count, order, epoch=0):
    return order.batches(np.arange(count), epoch)


def all_ranks(count, order, world_size, epoch=0):
    """The batches of every rank."""
    return [
        batches_of(count, order._replace(rank=rank, world_size=world_size), epoch)
        for rank in range(world_size)
    ]


@pytest.mark.parametrize("count", [1, 7, 12, 24, 25, 26, 29, 100])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_training_covers_every_image_once(count, world_size):
    order = BatchOrder(4, shuffle=True, training=True, seed=1)
    if count < world_size:
        with pytest.raises(DataError):
            all_ranks(count, order, world_size)
        return
    ranks = all_ranks(count, order, world_size, epoch=2)
    assert len({len(batches) for batches in ranks}) == 1
    assert all(1 <= len(batch) <= 5 for batches in ranks for batch in batches)
    seen = np.concatenate([batch for batches in ranks for batch in batches])
    np.testing.assert_array_equal(np.sort(seen), np.arange(count))


def test_training_with_drop_last_has_full_batches_only():
    ranks = all_ranks(29, BatchOrder(4, drop_last=True, training=True), 3)
    assert [[len(batch) for batch in batches] for batches in ranks] == [[4, 4]] * 3
    assert len(np.unique(np.concatenate([b for batches in ranks for b in batches]))) == 24


def test_too_few_images_is_said():
    with pytest.raises(DataError, match="5 training images make no batch of 12.*drop_last: false"):
        batches_of(5, BatchOrder(12, drop_last=True, training=True))
    with pytest.raises(DataError, match="2 training images make no batch of 1 on each of 3"):
        batches_of(2, BatchOrder(1, training=True, world_size=3))


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_evaluation_neither_drops_nor_repeats(world_size):
    ranks = all_ranks(13, BatchOrder(4), world_size)
    seen = np.concatenate([batch for batches in ranks for batch in batches])
    np.testing.assert_array_equal(np.sort(seen), np.arange(13))


def test_evaluation_with_fewer_images_than_ranks():
    assert batches_of(2, BatchOrder(4, rank=3, world_size=8)) == []


def test_order_depends_on_seed_and_epoch():
    def order_of(seed, epoch, shuffle=True):
        return batches_of(50, BatchOrder(50, shuffle, training=True, seed=seed), epoch)[0].tolist()

    first = order_of(3, 0)
    assert first == order_of(3, 0)
    assert first != order_of(3, 1) and first != order_of(4, 0)
    assert order_of(3, 1, shuffle=False) == list(range(50))


def test_ranks_share_the_draws_of_a_batch_unless_they_give_their_rank():
    draws = [batch_rng(1, 2, 3, rank).random() for rank in (0, 1, 2)]
    assert draws[0] == batch_rng(1, 2, 3).random()
    assert len(set(draws)) == 3


def test_streams_do_not_coincide():
    draws = {
        rng.random()
        for make in (sample_rng, batch_rng)
        for rng in (make(0, 0, 0), make(0, 0, 1), make(0, 1, 0), make(1, 0, 0))
    }
    assert len(draws) == 8
