"""Batches of uint8 pixels, for a device that normalizes them."""

import gc
import random

import numpy as np
import paddle
import pytest

from ppdet_lite.data.cache.shared_memory import shared_bytes
from ppdet_lite.data.reader import workers as workers_module
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.mosaic import Mosaic
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute
from ppdet_lite.data.transforms.pad import Pad, PadResize
from ppdet_lite.data.transforms.resize import Resize
from ppdet_lite.modeling.batch_tensors import as_tensors
from tests.data import readers


def raw_reader(dataset, **settings):
    return readers.train_reader(dataset, **settings).bound(raw_pixels=True)


def raw_batches(dataset, start=0, **settings):
    return raw_reader(dataset, **settings).batches(0, start)


def test_the_device_makes_the_floats_that_the_reader_would_have_made(dataset):
    floats = readers.train_reader(dataset).batches(0)
    count = 0
    for raw, expected in zip(raw_batches(dataset), floats):
        assert raw["image"].dtype == np.uint8
        assert raw["image"].shape == (*expected["image"].shape[:1], *expected["image"].shape[2:], 3)
        tensors = as_tensors(raw)
        assert "pixel_map" not in tensors
        np.testing.assert_allclose(tensors["image"].numpy(), expected["image"], atol=2e-6)
        for key in ("gt_bbox", "im_shape", "target0", "target1"):
            np.testing.assert_array_equal(raw[key], expected[key])
        count += 1
    assert count == 4


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"norm_type": "none"},
        {"norm_type": "none", "is_scale": False},
        {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4], "is_scale": False},
        {"std": [-0.2, 0.3, -1.0]},
        None,  # no NormalizeImage in the list
    ],
    ids=str,
)
def test_every_way_to_normalize(dataset, settings):
    steps = [Decode(), Resize([48, 64], keep_ratio=True), Pad(size=[48, 64]), Permute()]
    if settings is not None:
        steps.insert(3, NormalizeImage(**settings))
    by_place = []
    for raw_pixels in (False, True):
        reader = readers.EvalReader(steps, batch_size=5, dataset=dataset)
        reader = reader.bound(raw_pixels=raw_pixels)
        by_place.append([as_tensors(batch)["image"].numpy() for batch in reader])
    scale = np.abs(by_place[0][0]).max()
    for floats, on_device in zip(*by_place):
        np.testing.assert_allclose(on_device, floats, atol=1e-6 * scale)


def test_tensors_of_pixels_are_normalized_too(dataset):
    batch = next(raw_batches(dataset))
    pixels = {key: paddle.to_tensor(batch[key]) for key in ("image", "pixel_map")}
    expected = as_tensors(batch)["image"].numpy()
    np.testing.assert_array_equal(as_tensors(pixels)["image"].numpy(), expected)


@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_hand_over_the_same_pixels(dataset, workers, shared_memory):
    settings = {"batch_size": 2, "drop_last": False}
    alone = list(raw_batches(dataset, **settings))
    settings = {**settings, "worker_num": workers, "use_shared_memory": shared_memory}
    # A list keeps all batches: none may lie in memory that a worker writes to again.
    shared = list(raw_batches(dataset, **settings))
    readers.assert_same_batches(alone, shared)
    assert {batch["image"].dtype for batch in shared} == {np.dtype(np.uint8)}
    readers.assert_same_batches(alone[3:], raw_batches(dataset, start=3, **settings))


def test_workers_hand_over_mosaics(dataset):
    steps = [Decode(), Mosaic(input_dim=[64, 64]), PadResize(target_size=64)]
    settings = {"batch_size": 3, "mosaic_epoch": 9, "collate_batch": False, "dataset": dataset}
    found = []
    for workers in (0, 2):
        reader = readers.TrainReader(steps, [Permute()], worker_num=workers, **settings)
        found.append(list(reader.bound(raw_pixels=True).batches(0)))
    readers.assert_same_batches(*found)
    assert found[0][0]["image"].shape == (3, 64, 64, 3)


def is_shared(reader, pixels):
    """Whether these pixels lie where a worker has written them."""
    (pool,) = reader._pools
    return any(np.shares_memory(pixels, slot) for slots in pool.slots for slot in slots)


def test_pixels_stay_where_the_workers_have_put_them(dataset):
    """And are copied only for a loop that keeps so many that a worker could not go on."""
    reader = raw_reader(dataset, worker_num=2, batch_size=1)
    assert all(is_shared(reader, batch["image"]) for batch in reader.batches(0))
    kept, shared = [], []
    for batch in reader.batches(0):
        kept.append(batch)
        shared.append(is_shared(reader, batch["image"]))
    assert shared == [True, True] + [False] * (len(reader) - 2)


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("workers", [1, 3])
def test_pixels_that_are_kept_never_change(dataset, monkeypatch, slots, workers):
    """Whatever is kept for how long, views included, by loops that run at the same time."""

    def few_slots(count, slot_bytes, report):
        return [[shared_bytes(slot_bytes) for _ in range(slots)] for _ in range(count)]

    monkeypatch.setattr(workers_module, "batch_slots", few_slots)
    settings = {"batch_size": 1, "drop_last": False}
    expected = [np.copy(batch["image"]) for batch in raw_batches(dataset, **settings)]
    reader = raw_reader(dataset, worker_num=workers, **settings)
    loops, kept, rng = [reader.batches(0), reader.batches(0)], [], random.Random(slots)
    order = [*range(2)] * len(expected)
    rng.shuffle(order)
    positions = [0, 0]
    for loop in order:
        pixels = next(loops[loop])["image"]
        kept.append((positions[loop], pixels if rng.random() < 0.5 else pixels[:, ::2]))
        positions[loop] += 1
        del pixels
        while kept and rng.random() < 0.45:
            del kept[rng.randrange(len(kept))]
        for number, some in kept:
            whole = expected[number]
            np.testing.assert_array_equal(
                some, whole if some.shape == whole.shape else whole[:, ::2]
            )
    assert positions == [len(expected)] * 2
    del loops, loop
    reader.close()
    gc.collect()
    for number, some in kept:  # the memory outlives the workers
        assert some[0, 0].tolist() == expected[number][0, 0].tolist()


def test_what_a_user_normalizes_stays_as_it_is(dataset):
    class Darker:
        def __call__(self, sample, context=None):
            return {**sample, "image": sample["image"] - 1}

    steps = [*readers.eval_reader(dataset).sample_transforms, Darker()]
    reader = readers.EvalReader(steps, batch_size=2, dataset=dataset)
    batch = next(iter(reader.bound(raw_pixels=True)))
    assert batch["image"].dtype == np.float32 and "pixel_map" not in batch
