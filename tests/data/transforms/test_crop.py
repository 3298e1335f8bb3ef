"""RandomCrop: windows, objects that stay, boxes cut to the window or to polygons."""

import sys

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.transforms.crop import RandomCrop, _inside
from ppdet_lite.data.transforms.objects import clip_polygons
from tests.data.transforms.samples import context_of, make_sample


def test_crop_respects_the_threshold():
    """With the threshold 0.7 alone, some original box overlaps the window by at least that."""
    sample = make_sample(boxes=[(20, 20, 100, 80)])
    crop = RandomCrop(thresholds=[0.7], allow_no_crop=False)
    cropped = 0
    for seed in range(30):
        result = crop(sample, context_of(seed))
        height, width = result["image"].size_hw
        if (height, width) == (90, 120):
            continue
        cropped += 1
        box = result["gt_bbox"][0]
        common = (box[2] - box[0]) * (box[3] - box[1])
        assert common / (80 * 60 + height * width - common) >= 0.7
    assert cropped > 5


def cut(crop, sample, window, context=None):
    """The sample as `crop` makes it when it has drawn `window`."""
    keep = np.flatnonzero(_inside(sample["gt_bbox"], window[None])[:, 0])
    return crop._crop(sample, window, keep, context or context_of(0))


def test_crop_keeps_boxes_by_their_center():
    sample = make_sample(boxes=[(0, 0, 40, 40), (50, 50, 119, 89)])
    kept = cut(RandomCrop(), sample, np.array([19, 19, 60, 60]))
    np.testing.assert_array_equal(kept["gt_class"][:, 0], [0])
    np.testing.assert_array_equal(kept["gt_bbox"], [[0, 0, 21, 21]])
    assert cut(RandomCrop(), sample, np.array([41, 0, 60, 30])) is None


def test_crop_variants():
    sample = make_sample(boxes=[(5, 5, 30, 30), (80, 50, 115, 85)])
    cover = RandomCrop(thresholds=[0.8], allow_no_crop=False, cover_all_box=True, ioumode="iof")
    part = RandomCrop(thresholds=[0.8], allow_no_crop=False, ioumode="iof")
    free = RandomCrop(aspect_ratio=None, thresholds=[0.0], allow_no_crop=False)
    for seed in range(20):
        assert len(cover(sample, context_of(seed))["gt_bbox"]) == 2
        boxes = part(sample, context_of(seed))["gt_bbox"]
        area = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).max()
        assert area >= 0.8 * 25 * 25
        height, width = free(sample, context_of(seed))["image"].size_hw
        assert 0.45 <= height / width <= 2.1
    with pytest.raises(ConfigError, match="ioumode: found 'giou', allowed: 'iou' or 'iof'"):
        RandomCrop(ioumode="giou")


def triangle_sample():
    """A triangle with its right angle at (10, 10): cut at x = 30, y = 30 its bounds shrink."""
    sample = make_sample(90, 120, [(10, 10, 60, 60)])
    sample["gt_poly"] = [[np.array([[10, 10], [60, 10], [10, 60]], np.float32)]]
    return sample


def test_crop_fits_boxes_to_clipped_polygons():
    sample = triangle_sample()
    window = np.array([30, 5, 100, 80])  # leaves the part x >= 30: corners (30,10) (60,10) (30,40)
    with_polygons = cut(RandomCrop(is_mask_crop=True), sample, window)
    np.testing.assert_allclose(with_polygons["gt_bbox"], [[0, 5, 30, 35]])
    boxes_only = cut(RandomCrop(), sample, window)  # as in PaddleDetection
    np.testing.assert_allclose(boxes_only["gt_bbox"], [[0, 5, 30, 55]])


def test_crop_drops_objects_whose_polygon_lies_outside():
    sample = triangle_sample()
    window = np.array([35, 35, 100, 80])  # holds the box center (35, 35), none of the triangle
    assert cut(RandomCrop(is_mask_crop=True), sample, window) is None
    assert len(cut(RandomCrop(), sample, window)["gt_bbox"]) == 1


@pytest.mark.parametrize(
    "outline",
    [
        [[70, 70], [80, 70], [80, 80]],  # elsewhere
        [[0, 0], [119, 0], [119, 89], [0, 89]],  # around the whole image
        [[30, 30], [31, 30], [31, 31]],  # a part of the object
        [[0.1, 0.1], [0.5, 0.1], [0.5, 0.7]],  # shares of the image's sides
    ],
)
def test_polygons_that_do_not_fit_their_box_neither_move_nor_remove_it(outline):
    """Whereas those of another object in the same image do their work."""
    sample = make_sample(90, 120, [(10, 10, 60, 60)] * 2)
    fitting = triangle_sample()["gt_poly"][0]
    sample["gt_poly"] = [[np.array(outline, np.float32)], fitting]
    context = context_of(0)
    window = np.array([30, 5, 100, 80])
    cropped = cut(RandomCrop(is_mask_crop=True), sample, window, context)
    np.testing.assert_allclose(cropped["gt_bbox"], [[0, 5, 30, 55], [0, 5, 30, 35]])
    assert list(context.notes.values()) == [1]


def test_crop_keeps_the_box_of_objects_that_are_not_cut_or_have_no_polygon():
    sample = triangle_sample()
    sample["gt_poly"] = [[]]
    whole = cut(RandomCrop(is_mask_crop=True), sample, np.array([30, 5, 100, 80]))
    np.testing.assert_allclose(whole["gt_bbox"], [[0, 5, 30, 55]])
    loose = make_sample(90, 120, [(10, 10, 60, 60)])
    loose["gt_poly"] = [[np.array([[12, 12], [58, 12], [12, 58]])]]  # smaller than its box
    whole = cut(RandomCrop(is_mask_crop=True), loose, np.array([5, 5, 100, 80]))
    np.testing.assert_allclose(whole["gt_bbox"], [[5, 5, 55, 55]])


def test_missing_shapely(monkeypatch):
    monkeypatch.setitem(sys.modules, "shapely", None)
    with pytest.raises(ConfigError, match="shapely.*RandomCrop.is_mask_crop: false"):
        clip_polygons([np.zeros((3, 2))], 10, 10)
