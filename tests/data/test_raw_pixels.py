"""Batches of uint8 pixels, for a device that normalises them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.modeling.inputs import as_tensors

_spec = importlib.util.spec_from_file_location("readers", Path(__file__).with_name("readers.py"))
readers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(readers)


@pytest.fixture
def dataset(tmp_path):
    return readers.SmallDataset(tmp_path)


def raw_batches(dataset, **settings):
    reader = readers.train_reader(dataset, **settings)
    reader.raw_pixels = True
    return reader.batches(0)


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


@pytest.mark.parametrize("shared_memory", [True, False])
def test_workers_hand_over_the_same_pixels(dataset, shared_memory):
    alone = list(raw_batches(dataset))
    # A list keeps all batches: none may lie in memory that a worker writes to again.
    shared = list(raw_batches(dataset, worker_num=2, use_shared_memory=shared_memory))
    readers.assert_same_batches(alone, shared)
    assert {batch["image"].dtype for batch in shared} == {np.dtype(np.uint8)}


def test_pixels_stay_where_the_workers_have_put_them(dataset):
    reader = readers.train_reader(dataset, worker_num=1, batch_size=1)
    reader.raw_pixels = True
    places = {batch["image"].ctypes.data for batch in reader.batches(0)}
    assert len(places) < len(reader)  # memory is used again, and is not that of a copy each time
    reader = readers.train_reader(dataset, worker_num=1, batch_size=1)
    reader.raw_pixels = True
    kept = list(reader.batches(0))
    assert len({batch["image"].ctypes.data for batch in kept}) == len(kept)


def test_what_a_user_normalises_stays_as_it_is(dataset):
    class Darker:
        def __call__(self, sample, context=None):
            return {**sample, "image": sample["image"] - 1}

    steps = [*readers.eval_reader(dataset).sample_transforms, Darker()]
    reader = readers.EvalReader(steps, batch_size=2, dataset=dataset)
    reader.raw_pixels = True
    batch = next(iter(reader))
    assert batch["image"].dtype == np.float32 and "pixel_map" not in batch
