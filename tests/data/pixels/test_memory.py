import os

import numpy as np
import pytest

from ppdet_lite.data.pixels.memory import RecycledArrays


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_nothing_refers_to_it():
    memory = RecycledArrays()
    first = memory.empty("a", (4, 5))
    place = address(first)
    del first
    second = memory.empty("a", (2, 3))
    assert address(second) == place
    assert second.shape == (2, 3)
    assert second.dtype == np.float32


def test_memory_in_use_is_left_alone():
    """A slice, a reshaped view or a view of a view is enough to keep it."""
    memory = RecycledArrays()
    for keep in (lambda a: a, lambda a: a[1:2], lambda a: a.reshape(-1)[3:].view(np.uint8)):
        array = memory.empty("a", (4, 5))
        array.fill(7)
        kept = keep(array)
        del array
        for _ in range(3):
            memory.empty("a", (4, 5)).fill(0)
        np.testing.assert_array_equal(kept.reshape(-1).view(np.uint8)[:4].view(np.float32), 7)
        del kept


def test_names_do_not_share_blocks():
    memory = RecycledArrays()
    first = address(memory.empty("a", (8,)))
    assert address(memory.empty("a", (8,))) == first
    other = memory.empty("b", (8,))
    assert address(other) != first


def test_small_blocks_give_way_to_a_larger_one():
    memory = RecycledArrays()
    for size in (10, 20, 30, 20, 10, 30):
        memory.empty("a", (size,))
    largest = address(memory.empty("a", (30,)))
    assert address(memory.empty("a", (10,))) == largest


def test_headroom_makes_one_block_do_for_all_sizes():
    memory = RecycledArrays(headroom=3.0)
    place = address(memory.empty("a", (10,)))
    for size in (20, 30, 10):
        assert address(memory.empty("a", (size,))) == place


def test_many_arrays_at_once():
    memory = RecycledArrays(keep=2)
    arrays = [memory.empty("a", (3,)) for _ in range(5)]
    for index, array in enumerate(arrays):
        array.fill(index)
    assert [array[0] for array in arrays] == [0, 1, 2, 3, 4]
    assert len(memory._blocks["a"]) == 2


def test_sparse_arrays_are_zero_elsewhere_also_in_used_memory():
    """Whatever the sizes and positions of the arrays before it."""
    memory = RecycledArrays()
    rng = np.random.default_rng(0)
    for _ in range(50):
        shape = tuple(int(side) for side in rng.integers(1, 9, 3))
        count = int(np.prod(shape))
        positions = rng.integers(0, count, rng.integers(0, 6))
        values = rng.normal(size=len(positions)).astype(np.float32)
        array = memory.sparse("a", shape, positions, values)
        expected = np.zeros(count, np.float32)
        for position, value in zip(positions, values):
            expected[position] = value
        np.testing.assert_array_equal(array, expected.reshape(shape))
        kept = array if rng.random() < 0.3 else None
        del array
    assert kept is None or kept.shape == shape


def test_untouched_memory_is_never_written():
    """The headroom of a block, and the zeros of a sparse array, take no memory."""
    resource = pytest.importorskip("resource")
    memory = RecycledArrays(headroom=4.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        memory.sparse("a", (50, 1000, 1000), np.array([5]), 1.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1000  # 200,000 pages


def test_sparse_arrays_cannot_be_written():
    memory = RecycledArrays()
    array = memory.sparse("a", (4,), np.array([1]), 5.0)
    with pytest.raises(ValueError, match="read-only"):
        array[2] = 1
    with pytest.raises(ValueError, match="read-only"):
        array.reshape(2, 2)[0] = 1


def test_empty_and_sparse_in_the_same_memory():
    memory = RecycledArrays()
    memory.empty("a", (6,)).fill(3)
    np.testing.assert_array_equal(memory.sparse("a", (5,), np.array([2]), 4.0), [0, 0, 4, 0, 0])
    np.testing.assert_array_equal(memory.sparse("a", (4,), np.array([1]), 9), [0, 9, 0, 0])
    np.testing.assert_array_equal(memory.sparse("a", (5,), np.zeros(0, int), []), 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_can_use_and_drop_the_memory():
    """And does not change what its parent sees; the cyclic garbage collector may find blocks."""
    memory = RecycledArrays()
    array = memory.empty("a", (1000,))
    array.fill(7)
    memory.sparse("b", (1000,), np.array([3]), 1.0)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            sparse = memory.sparse("b", (1000,), np.array([5]), 2.0)
            fine = sparse.sum() == 2 and memory.empty("a", (1000,)) is not None
            array.fill(9)
            del array, sparse, memory
            code = 0 if fine else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (array == 7).all()
