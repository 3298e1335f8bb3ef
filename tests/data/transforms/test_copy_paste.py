"""Copy-Paste: pixels vouch for masks and boxes; what is covered is left out or shortened."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.copy_paste import (
    CopyPaste,
    mask_bounds,
    polygon_mask,
    uncovered,
)
from ppdet_lite.data.transforms.mosaic import PolygonMosaic
from ppdet_lite.data.transforms.transform import Context


def corners(x1, y1, x2, y2):
    return np.float32([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def sample(value, boxes, first_class=0, size=(60, 80), polygons=True):
    """An image of one gray value whose boxes are `value` + 50, with the boxes as polygons."""
    image = np.full((*size, 3), value, np.uint8)
    for x1, y1, x2, y2 in np.array(boxes, int).reshape(-1, 4):
        image[y1:y2, x1:x2] = value + 50
    count = len(boxes)
    made = {
        "im_file": "a.jpg",
        "image": LazyImage(image),
        "gt_bbox": np.float32(boxes).reshape(-1, 4),
        "gt_class": np.arange(first_class, first_class + count, dtype=np.int32)[:, None],
        "gt_score": np.ones((count, 1), np.float32),
        "is_crowd": np.zeros((count, 1), np.int32),
    }
    if polygons:
        made["gt_poly"] = [[corners(*box)] for box in boxes]
    return made


def run(transform, base, partner, seed=0):
    context = Context(np.random.default_rng(seed), partner=lambda: partner)
    return transform(base, context)


def test_masks_are_the_pixels_inside():
    mask = polygon_mask([corners(2, 3, 7, 5)], (10, 10))
    expected = np.zeros((10, 10), bool)
    expected[3:5, 2:7] = True
    # The line along the far border belongs to OpenCV's polygons too.
    assert mask[expected].all() and mask.sum() <= expected.sum() + 5 + 2 + 1
    np.testing.assert_array_equal(mask_bounds(expected), [2, 3, 7, 5])
    triangle = polygon_mask([np.float32([[0, 0], [10, 0], [0, 10]])], (10, 10))
    assert triangle[1, 1] and not triangle[8, 8] and 45 <= triangle.sum() <= 65
    assert not polygon_mask([np.float32([[0, 0], [5, 5]])], (10, 10)).any()


def test_pasted_pixels_and_boxes_agree():
    base = sample(0, [])
    partner = sample(100, [(10, 10, 40, 50), (50, 20, 70, 40)], first_class=5)
    seen = set()
    for seed in range(40):
        result = run(CopyPaste(scale=(0.5, 1.5)), base, partner, seed)
        pixels = result["image"].render()[..., 0]
        boxes = result["gt_bbox"]
        seen.add(len(boxes))
        covered = np.zeros_like(pixels, bool)
        for x1, y1, x2, y2 in boxes.astype(int):
            covered[y1:y2, x1:x2] = True
            inside = pixels[y1:y2, x1:x2]
            assert (inside > 0).mean() > 0.9
        assert (pixels[~covered] == 0).all()  # nothing but the objects was pasted
        assert len(result["gt_class"]) == len(result["gt_score"]) == len(boxes)
    assert seen == {0, 1, 2}


def test_sizes_positions_and_sides_vary():
    partner = sample(100, [(0, 0, 20, 60)], first_class=5)
    boxes = []
    for seed in range(200):
        found = run(CopyPaste(scale=(0.5, 1.0), object_prob=1.0), sample(0, []), partner, seed)
        boxes.append(found["gt_bbox"][0])
    widths = np.array([box[2] - box[0] for box in boxes])
    lefts = np.array([box[0] for box in boxes])
    assert 10 <= widths.min() <= 12 and 19 < widths.max() <= 21
    assert (lefts < 10).any() and (lefts > 50).any()  # mirrored: the object is at the right


def test_what_is_covered_goes_or_shrinks():
    base = sample(0, [(0, 0, 20, 20), (30, 0, 60, 20), (30, 30, 50, 50), (60, 30, 80, 60)])
    pasted = np.zeros((60, 80), bool)
    pasted[0:21, 0:45] = True  # all of the first, the left half of the second
    pasted[38:42, 35:45] = True  # the middle of the third
    below = uncovered(base, pasted)
    assert below["gt_class"].ravel().tolist() == [1, 2, 3]
    np.testing.assert_array_equal(
        below["gt_bbox"], [[45, 0, 60, 20], [30, 30, 50, 50], [60, 30, 80, 60]]
    )
    without = sample(0, [(0, 0, 20, 20), (30, 0, 60, 20)], polygons=False)
    assert uncovered(without, pasted)["gt_bbox"].tolist() == [[30, 0, 60, 20]]


def test_nothing_to_paste():
    base = sample(0, [(0, 0, 20, 20)])
    partner = sample(100, [(10, 10, 40, 50)], polygons=False)
    context = Context(np.random.default_rng(0), partner=lambda: partner)
    assert CopyPaste()(base, context) is base
    assert [count for note, count in context.notes.items() if "without polygons" in note] == [1]
    assert run(CopyPaste(), base, sample(100, [])) is base
    assert run(CopyPaste(prob=0.0), base, sample(100, [(10, 10, 40, 50)])) is base
    assert CopyPaste()(base, Context(np.random.default_rng(0))) is base
    crowd = sample(100, [(10, 10, 40, 50)])
    crowd["is_crowd"][:] = 1
    assert run(CopyPaste(object_prob=1.0), base, crowd) is base
    with pytest.raises(ConfigError, match="scale: found"):
        CopyPaste(scale=[2, 1])
    with pytest.raises(ConfigError, match="enable_mixup: found true"):
        PolygonMosaic(enable_mixup=True)


def test_mosaics_keep_polygons_where_their_objects_are():
    image = sample(0, [(10, 10, 40, 50), (50, 20, 70, 40)])
    settings = {"input_dim": [96, 96], "scale": (0.8, 1.2), "degrees": (-20, 20)}
    for seed in range(20):
        found = run(PolygonMosaic(**settings), image, image, seed)
        pixels = found["image"].render()[..., 0]
        assert len(found["gt_poly"]) == len(found["gt_bbox"]) == 8
        drawn = np.zeros((96, 96), bool)
        for own in found["gt_poly"]:
            drawn |= polygon_mask(own, (96, 96))
        bright = np.abs(pixels.astype(int) - 50) < 10  # the objects
        assert (drawn[bright]).mean() > 0.95
        for box, own in zip(found["gt_bbox"], found["gt_poly"]):
            if box.min() > 0 and box.max() < 96:  # not cut by the border
                mask = polygon_mask(own, (96, 96))
                assert np.abs(mask_bounds(mask) - box).max() < 3


def test_paste_onto_a_mosaic():
    image = sample(0, [(10, 10, 40, 50), (50, 20, 70, 40)])
    context = Context(np.random.default_rng(1), partner=lambda: image)
    mosaic = PolygonMosaic(input_dim=[96, 96], scale=(0.8, 1.2))(image, context)
    found = CopyPaste(scale=(0.5, 1.5), object_prob=1.0)(mosaic, context)
    assert "gt_poly" not in found and len(found["gt_bbox"]) > 2
    assert found["image"].size_hw == (96, 96)
