"""Tiles cover the image, copies come back to their place, and the merge finds each object once."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.evaluate.views.merge import Merge
from ppdet_lite.evaluate.views.predictor import ViewPredictor, scaled_steps
from ppdet_lite.evaluate.views.view import Copies, Tiles, View, starts


def test_starts_by_hand():
    assert starts(100, 100, 0.25) == starts(60, 100, 0.25) == [0]
    assert starts(175, 100, 0.25) == [0, 75]
    assert starts(180, 100, 0.25) == [0, 40, 80]  # two tiles would overlap by a fifth only
    assert starts(300, 100, 0.0) == [0, 100, 200]


@pytest.mark.parametrize("size_hw", [(90, 130), (64, 64), (65, 64), (200, 70), (30, 300)])
def test_tiles_cover_every_pixel_and_come_back(size_hw):
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    seen = np.zeros(size_hw, int)
    for view in Tiles((64, 64), (0.25, 0.25), with_whole=False)(image):
        height, width = view.image.shape[:2]
        x, y = view.shift_xy
        assert (view.image == image[y : y + height, x : x + width]).all()
        seen[y : y + height, x : x + width] += 1
        rows, _ = view.to_image(np.array([[3, 0.5, 1, 2, 11, 22]]))
        np.testing.assert_array_equal(rows[0, 2:], [x + 1, y + 2, x + 11, y + 22])
        borders = (x > 0, y > 0, x + width < size_hw[1], y + height < size_hw[0])
        assert view.inner == borders
    assert seen.min() >= 1


def test_the_whole_image_is_a_view_and_small_images_are_one():
    large, small = np.zeros((100, 100, 3), np.uint8), np.zeros((60, 64, 3), np.uint8)
    assert [view.image.shape[0] for view in Tiles((64, 64))(large)] == [100, 64, 64, 64, 64]
    assert len(list(Tiles((64, 64))(small))) == 1


def test_boxes_near_inner_borders_may_be_cut():
    """Six percent of 80 and of 50 pixels are 4.8 and 3."""
    view = View(np.zeros((50, 80, 3), np.uint8), (10, 20), inner=(True, False, False, True))
    boxes = [
        [4.7, 5, 9, 9],  # left
        [4.9, 0, 30, 9],  # top, where the image ends
        [60, 5, 80, 9],  # right, where the image ends
        [20, 30, 30, 47.1],  # bottom
        [0, 30, 30, 50],  # left and bottom
        [20, 20, 30, 46.9],
    ]
    borders = view.to_image(np.hstack([np.ones((6, 2)), boxes]))[1]
    none = [np.nan] * 4
    left, bottom, both = [10, *none[1:]], [*none[1:], 70], [10, np.nan, np.nan, 70]
    np.testing.assert_array_equal(borders, [left, none, none, bottom, both, none])


def test_flipped_boxes_come_back():
    image = np.zeros((40, 100, 3), np.uint8)
    image[10:20, 70:90] = 255
    plain, flipped = Copies((1.0,))(image)
    assert (flipped.image[10:20, 10:30] == 255).all() and not plain.is_flipped
    rows, borders = flipped.to_image(np.array([[0, 0.9, 10, 10, 30, 20]]))
    np.testing.assert_array_equal(rows[0, 2:], [70, 10, 90, 20])
    assert np.isnan(borders).all()


def test_input_sizes_are_multiples_of_the_stride():
    steps = [{"type": "Resize", "target_size": [608, 608], "interp": 2}, {"type": "Permute"}]
    steps += [{"type": "Pad", "size": 416}]
    scaled = scaled_steps(steps, 0.83, 32)
    assert scaled[0]["target_size"] == [512, 512] and scaled[2]["size"] == [352, 352]
    assert scaled_steps(steps, 1.0, 32) == steps and steps[2]["size"] == 416


def rows_of(*rows):
    return np.array(rows, np.float32).reshape(-1, 6), np.full((len(rows), 4), np.nan)


def test_an_object_in_two_tiles_is_found_once_and_whole():
    rows, borders = rows_of(
        [0, 0.9, 0, 0, 30, 50],  # the left part in one tile, whose border is at 32
        [0, 0.6, 0, 0, 60, 50],  # the whole in another
        [0, 0.5, 1, 1, 61, 50],
        [1, 0.4, 0, 0, 30, 50],  # of another class
        [0, 0.3, 200, 0, 230, 50],  # cut, but elsewhere nothing is whole
    )
    borders[[0, 3], 2], borders[4, 0] = 32, 199
    merged = Merge(0.6)(rows, borders)
    np.testing.assert_allclose(merged[:, 1], [0.6, 0.4, 0.3])
    np.testing.assert_array_equal(merged[0, 2:], [0, 0, 60, 50])
    assert len(Merge(0.6)(*rows_of(*rows))) == 4  # without the borders both would stay


@pytest.mark.parametrize(
    "side, border, whole, stays",
    [
        (2, 62, [0, 0, 90, 50], False),
        (2, 62, [0, 0, 61, 50], True),  # ends before the border: no more of the object than here
        (2, 62, [36, 0, 90, 50], True),  # has only 60 % of it
        (0, 18, [0, 0, 60, 50], False),
        (1, 8, [20, 0, 60, 50], False),
        (3, 44, [20, 10, 60, 50], False),
        (3, 44, [0, 10, 90, 43], True),  # goes on elsewhere, not behind the border
    ],
)
def test_only_a_box_that_crosses_the_border_removes_a_part(side, border, whole, stays):
    rows, borders = rows_of([0, 0.9, 20, 10, 60, 42], [0, 0.5, *whole])
    borders[0, side] = border
    assert (0.9 in Merge(1.0)(rows, borders)[:, 1].round(3)) is stays


def test_two_parts_of_an_object_do_not_remove_each_other():
    """Of an object larger than both tiles; 80 % of each part lies in the other or more."""
    rows, borders = rows_of([0, 0.5, 10, 0, 60, 50], [0, 0.9, 20, 0, 68, 50])
    borders[0, 2], borders[1, 0] = 62, 18
    assert len(Merge(1.0)(rows, borders)) == 1
    np.testing.assert_array_equal(Merge(1.0)(rows, borders)[0], rows[0])  # the larger
    rows[1, 4] = 70
    assert len(Merge(1.0)(rows, borders)) == 2  # none is larger
    np.testing.assert_array_equal(Merge(0.6)(rows, borders), rows[1:])  # the better


def test_an_object_before_a_border_that_the_next_tile_sees_whole():
    """The better of both boxes stays, also where a weak one of the whole image is near."""
    rows, borders = rows_of(
        [0, 0.9, 40, 10, 60, 40],  # ends 2 pixels before the border of its tile at 62
        [0, 0.7, 41, 10, 60, 40],  # in the next tile, from 35 on
        [0, 0.1, 39, 9, 64, 41],  # in the whole image, inexact
        [0, 0.6, 10, 10, 30, 40],  # in no other tile, inside a larger object that ends at 61
        [0, 0.8, 5, 5, 61, 45],
    )
    borders[[0, 3, 4], 2], borders[1, 0] = 62, 35
    merged = Merge(0.6)(rows, borders)
    np.testing.assert_allclose(merged[:, 1], [0.9, 0.8, 0.6])


def test_weak_boxes_do_not_remove_good_parts():
    rows, borders = rows_of([0, 0.9, 0, 0, 30, 50], [0, 0.17, 0, 0, 60, 50])
    borders[0, 2] = 31
    assert len(Merge(0.6)(rows, borders)) == 2
    rows[1, 1] = 0.19
    np.testing.assert_allclose(Merge(0.6)(rows, borders)[:, 1], [0.19])


def test_the_smaller_box_as_measure():
    rows, borders = rows_of([0, 0.9, 0, 0, 60, 50], [0, 0.8, 0, 0, 30, 50])
    assert len(Merge(0.6, "iou")(rows, borders)) == 2
    assert len(Merge(0.6, "ios")(rows, borders)) == 1


def test_votes_are_weighted_by_scores():
    rows, borders = rows_of([0, 0.6, 0, 0, 40, 40], [0, 0.2, 4, 0, 44, 40], [0, 0.1, 90, 0, 99, 9])
    merged = Merge(0.6, vote=True)(rows, borders)
    np.testing.assert_allclose(merged[0, 2:], [1, 0, 41, 40])
    assert merged[0, 1] == pytest.approx(0.6) and len(merged) == 2
    assert len(Merge(0.6, most=1)(rows, borders)) == 1


def test_no_detection():
    assert Merge()(*rows_of()).shape == (0, 6)


@pytest.mark.parametrize(
    "make, key",
    [
        (lambda: Tiles(overlap=(0.95, 0.1)), "overlap_ratio"),
        (lambda: Tiles((16, 640)), "slice_size"),
        (lambda: Copies((0.0,)), "tta_scales"),
        (lambda: Merge(0.0), "match_threshold"),
    ],
)
def test_values_that_cannot_be_used(make, key):
    with pytest.raises(ConfigError, match=key):
        make()


class Bright(paddle.nn.Layer):
    """A network that finds bright squares: one box around all bright pixels of each image."""

    largest_stride = 8

    def forward(self, inputs):
        rows, counts = [], []
        for image, scale in zip(inputs["image"].numpy(), inputs["scale_factor"].numpy()):
            ys, xs = np.nonzero(image[0] > 0.5)
            counts.append(int(len(xs) > 0))
            if len(xs):
                box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
                rows.append([0, 0.9, *(box / np.tile(scale[::-1], 2))])
        bbox = np.array(rows, np.float32).reshape(-1, 6)
        return {"bbox": paddle.to_tensor(bbox), "bbox_num": paddle.to_tensor(counts, dtype="int32")}


@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_object_at_the_border_of_tiles(batch_size):
    image = np.zeros((100, 160, 3), np.uint8)
    image[40:60, 56:76] = 255  # across the borders of the tiles of 64
    steps = [
        {"type": "Resize", "target_size": [64, 64], "keep_ratio": False, "interp": 0},
        {"type": "NormalizeImage", "mean": [0, 0, 0], "std": [1, 1, 1], "is_scale": True},
        {"type": "Permute"},
    ]
    tiles = Tiles((64, 64), (0.4, 0.4), with_whole=False)
    detect = ViewPredictor(Bright(), steps, tiles, Merge(), batch_size)
    np.testing.assert_allclose(detect(image), [[0, 0.9, 56, 40, 76, 60]], atol=0.01)
    flips = ViewPredictor(Bright(), steps, Copies((1.0, 2.0)), Merge(vote=True), batch_size)
    np.testing.assert_allclose(flips(image)[0, 2:], [56, 40, 76, 60], atol=2)
