"""Feeding an engine: batches fetched ahead, by threads, and their rate."""

import itertools
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ppdet_lite.benchmark.gpu_check.throughput import RepeatedPhotos, ahead, rate, thread_batches
from ppdet_lite.core.errors import ImageError, UserError
from ppdet_lite.data.pixels.image_ops import Preprocess

PREPROCESS = Preprocess([{"type": "Resize", "target_size": [32, 64], "keep_ratio": False}])


@pytest.fixture
def photos(tmp_path):
    paths = [tmp_path / f"{index}.jpg" for index in range(3)]
    for index, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((20, 30, 3), 40 * index, np.uint8))
    return paths


def test_batches_that_are_fetched_ahead_are_the_same():
    assert list(ahead(iter([{"a": 1}, {"a": 2}, {"a": 3}]))) == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_the_source_is_closed_and_its_error_raised():
    closed = []

    def source(last):
        try:
            yield from ({"a": index} for index in range(last))
            raise UserError("no more photos")
        finally:
            closed.append(last)

    batches = ahead(source(1000))
    next(batches)
    batches.close()
    assert closed == [1000]
    with pytest.raises(UserError, match="no more photos"):
        list(ahead(source(2)))


def test_threads_prepare_batches_in_order(photos):
    detector = SimpleNamespace(preprocess=PREPROCESS)
    before = cv2.getNumThreads()
    batches = thread_batches(detector, photos, 2, 3)
    found = [batch["image"] for batch in itertools.islice(batches, 4)]
    batches.close()
    assert {array.shape[0] for array in found} == {2}
    levels = [float(image.mean()) for array in found for image in array]
    assert levels[:6] == pytest.approx(levels[:3] * 2) and len(set(np.round(levels, 3))) == 3
    assert cv2.getNumThreads() == before
    (photos[0].parent / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match="bad.jpg"):
        next(thread_batches(detector, [photos[0].parent / "bad.jpg"], 1, 1))


def test_rates_count_images_behind_the_first_batch():
    runs = []

    def run(inputs):
        time.sleep(0.2 if not runs else 0.01)
        runs.append(inputs)

    detector = SimpleNamespace(engine=SimpleNamespace(input_names=["a"], run=run))
    found = rate(iter([{"a": 1, "b": 2}] * 1000), 4, 0.1, detector)
    assert runs[0] == {"a": 1} and 2 <= len(runs) <= 12
    assert 4 * (len(runs) - 1) / 0.2 < found <= 4 / 0.01
    with pytest.raises(UserError, match="more photos"):
        rate(iter([{"a": 1}]), 4, 0.01)


def test_few_photos_are_many_images(photos):
    data = RepeatedPhotos(photos)
    assert len(data) > 10_000
    assert data.record(4)["im_file"] == str(photos[1]) and data.record(4)["im_id"] == [4]
