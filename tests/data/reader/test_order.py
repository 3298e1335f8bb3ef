import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.reader.order import (
    batch_rng,
    epoch_order,
    evaluation_batches,
    sample_rng,
    training_batches,
)


@pytest.mark.parametrize("count", [1, 7, 12, 24, 25, 26, 29, 100])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_training_covers_every_image_once(count, world_size):
    order = epoch_order(np.arange(count), True, seed=1, epoch=2)
    if count < world_size:
        with pytest.raises(DataError):
            training_batches(order, 4, False, 0, world_size)
        return
    ranks = [training_batches(order, 4, False, rank, world_size) for rank in range(world_size)]
    assert len({len(batches) for batches in ranks}) == 1
    assert all(1 <= len(batch) <= 5 for batches in ranks for batch in batches)
    seen = np.concatenate([batch for batches in ranks for batch in batches])
    np.testing.assert_array_equal(np.sort(seen), np.arange(count))


def test_training_with_drop_last_has_full_batches_only():
    ranks = [training_batches(np.arange(29), 4, True, rank, 3) for rank in range(3)]
    assert [[len(batch) for batch in batches] for batches in ranks] == [[4, 4]] * 3
    assert len(np.unique(np.concatenate([b for batches in ranks for b in batches]))) == 24


def test_too_few_images_is_said():
    with pytest.raises(DataError) as error:
        training_batches(np.arange(5), 12, True)
    assert str(error.value) == (
        "5 training images make no batch of 12 on each of 1 process(es); set drop_last: false or "
        "use a smaller batch_size"
    )
    with pytest.raises(DataError, match="2 training images make no batch of 1 on each of 3"):
        training_batches(np.arange(2), 1, False, 0, 3)


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_evaluation_neither_drops_nor_repeats(world_size):
    ranks = [evaluation_batches(np.arange(13), 4, rank, world_size) for rank in range(world_size)]
    seen = np.concatenate([batch for batches in ranks for batch in batches])
    np.testing.assert_array_equal(np.sort(seen), np.arange(13))


def test_evaluation_with_fewer_images_than_ranks():
    assert evaluation_batches(np.arange(2), 4, 3, 8) == []


def test_order_depends_on_seed_and_epoch():
    indices = np.arange(50)
    first = epoch_order(indices, True, 3, 0)
    np.testing.assert_array_equal(first, epoch_order(indices, True, 3, 0))
    assert (first != epoch_order(indices, True, 3, 1)).any()
    assert (first != epoch_order(indices, True, 4, 0)).any()
    np.testing.assert_array_equal(epoch_order(indices, False, 3, 1), indices)


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
