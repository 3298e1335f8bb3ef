"""Tiles for training: size, boxes and their pixels."""

import numpy as np
import pytest

from ppdet_lite.data.transforms.tile import RandomTile
from ppdet_lite.data.transforms.transform import Context


def sample(boxes, size_hw=(200, 300)):
    image = np.zeros((*size_hw, 3), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        image[y1:y2, x1:x2] = 50 + number
    count = len(boxes)
    return {
        "image": image,
        "gt_bbox": np.array(boxes, np.float32).reshape(-1, 4),
        "gt_class": np.arange(count, dtype=np.int32)[:, None],
    }


def draws(tile, given, count=200):
    for seed in range(count):
        yield tile.apply(given, Context(np.random.default_rng(seed)))


def test_boxes_stay_on_their_pixels():
    given = sample([[10, 10, 30, 40], [100, 50, 160, 90], [250, 150, 290, 190]])
    for cut in draws(RandomTile((80, 96), prob=1.0, min_visible=0.3), given):
        image = cut["image"].render()
        assert image.shape == (80, 96, 3)
        for box, label in zip(cut["gt_bbox"].astype(int), cut["gt_class"][:, 0]):
            x1, y1, x2, y2 = box
            assert (image[y1:y2, x1:x2] == 50 + label).all()
            whole = given["gt_bbox"][label]
            area = (whole[2] - whole[0]) * (whole[3] - whole[1])
            assert (x2 - x1) * (y2 - y1) >= 0.3 * area - 1e-3
        dropped = set(range(3)) - set(cut["gt_class"][:, 0].tolist())
        for label in dropped:
            whole = given["gt_bbox"][label]
            area = (whole[2] - whole[0]) * (whole[3] - whole[1])
            assert (image == 50 + label).all(axis=2).sum() < 0.3 * area


def test_a_tile_around_an_object_holds_all_of_it():
    given = sample([[200, 120, 240, 180]])
    tile = RandomTile(96, prob=1.0, object_prob=1.0)
    starts = set()
    for cut in draws(tile, given):
        x1, y1, x2, y2 = cut["gt_bbox"][0]
        assert (x2 - x1, y2 - y1) == (40, 60)
        starts.add((x1, y1))
    assert len(starts) > 100


def test_a_larger_object_is_cut():
    for cut in draws(
        RandomTile(64, prob=1.0, min_visible=0.05, object_prob=1.0), sample([[0, 0, 300, 200]]), 20
    ):
        np.testing.assert_array_equal(cut["gt_bbox"], [[0, 0, 64, 64]])


@pytest.mark.parametrize("prob, share", [(0.0, 0), (0.25, 0.25), (1.0, 1)])
def test_share_of_whole_images(prob, share):
    given = sample([[10, 10, 30, 40]])
    cut = [one is not given for one in draws(RandomTile(96, prob=prob), given, 400)]
    assert np.mean(cut) == pytest.approx(share, abs=0.06)


def test_small_images_and_images_without_objects():
    small = sample([[10, 10, 30, 40]], (60, 60))
    assert all(one is small for one in draws(RandomTile(64, prob=1.0), small, 5))
    for cut in draws(RandomTile(64, prob=1.0), sample([]), 5):
        assert cut["image"].size_hw == (64, 64) and cut["gt_bbox"].shape == (0, 4)
    (high,) = draws(RandomTile(100, prob=1.0), sample([], (60, 300)), 1)
    assert high["image"].size_hw == (60, 100)
