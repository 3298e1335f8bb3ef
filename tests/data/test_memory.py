import numpy as np

from ppdet_lite.data.memory import RecycledArrays


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
    assert [block.nbytes for block in memory._blocks["a"]] == [120]


def test_many_arrays_at_once():
    memory = RecycledArrays(keep=2)
    arrays = [memory.empty("a", (3,)) for _ in range(5)]
    for index, array in enumerate(arrays):
        array.fill(index)
    assert [array[0] for array in arrays] == [0, 1, 2, 3, 4]
    assert len(memory._blocks["a"]) == 2


def test_zeros_are_zeros_in_used_memory():
    memory = RecycledArrays()
    memory.zeros("a", (6,)).fill(3)
    np.testing.assert_array_equal(memory.zeros("a", (2, 2)), 0)
    np.testing.assert_array_equal(memory.zeros("a", (6,), np.uint8), 0)
