"""Labels lie inside of the image, off each other and off small objects."""

import numpy as np
import pytest

from ppdet_lite.utils.label_layout import MOST_HIDDEN, Named, fit_label, place_labels

SIZES = [(48, 64), (480, 640), (2000, 3000)]


def placed(size_hw, boxes, names=None, classes=None):
    boxes = np.array(boxes, float)
    texts = [Named(name, "0.87") for name in names or ["person"] * len(boxes)]
    return place_labels(size_hw, boxes, classes or list(range(len(boxes))), texts)


def hidden_share(label, box):
    x1, y1, x2, y2 = label.box
    width = min(x2, box[2]) - max(x1, box[0])
    height = min(y2, box[3]) - max(y1, box[1])
    return max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1]))


@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.85, 0.0), (0.0, 0.85), (0.85, 0.85)])
def test_labels_stay_inside_the_image(size_hw, corner):
    height, width = size_hw
    x, y = corner[0] * width, corner[1] * height
    (label,) = placed(size_hw, [[x, y, x + 0.15 * width, y + 0.15 * height]])
    assert label.x >= 0 and label.y >= 0
    assert label.x + label.width <= width and label.y + label.height <= height
    assert label.text == "person 0.87"


def test_the_first_place_is_above_the_left_corner():
    (label,) = placed((480, 640), [[100, 200, 300, 400]])
    assert (label.x, label.y + label.height) == (100, 200)


def test_long_names_are_cut_before_the_score():
    label = fit_label((64, 64), Named("a very long class name indeed", "0.87"), 8)
    assert label.width <= 64
    assert label.text.startswith("a v") and label.text.endswith(". 0.87")


def test_labels_of_overlapping_boxes_do_not_cover_each_other():
    first, second = placed((480, 640), [[200, 200, 400, 400], [205, 203, 400, 400]])
    assert first.overlap(second) == 0


def test_a_label_goes_beside_its_box_rather_than_over_a_small_one():
    """Small objects above, below and inside leave a side free."""
    box = [300, 200, 380, 280]
    small = [[300, 170, 330, 198], [340, 170, 380, 198], [300, 282, 340, 310], [345, 282, 380, 310]]
    small += [
        [302, 202, 330, 230],
        [340, 240, 370, 270],
        [340, 202, 370, 230],
        [302, 240, 330, 270],
    ]
    label = placed((480, 640), [box, *small])[0]
    assert max(hidden_share(label, each) for each in small) == 0
    assert label.x >= 380 or label.x + label.width <= 300


def test_in_a_crowd_labels_hide_little_and_every_class_has_one():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 200, (60, 2)) + (200, 100)
    boxes = np.hstack([corners, corners + rng.uniform(14, 26, (60, 2))])
    classes = [int(i) for i in rng.integers(0, 3, 60)]
    labels = placed((480, 640), boxes, classes=classes)
    kept = [label for label in labels if label is not None]
    assert 3 <= len(kept) < 60
    assert {c for c, label in zip(classes, labels) if label is not None} == set(classes)
    seen = set()
    for row, (label, class_id) in enumerate(zip(labels, classes)):
        if label is not None and class_id in seen:
            others = np.delete(boxes, row, axis=0)
            assert max(hidden_share(label, box) for box in others) <= MOST_HIDDEN + 1e-9
        seen.add(class_id)


def test_text_is_smaller_on_small_boxes_and_in_crowds():
    large, small = ([[9, 99, 9 + side, 99 + side]] for side in (400, 60))
    heights = [placed((900, 900), boxes)[0].text_px for boxes in (large, small)]
    assert heights[0] == pytest.approx(900 / 42) and heights[1] < 0.8 * heights[0]
    crowd = placed((900, 900), large * 60, classes=[0] * 60)
    assert crowd[0].text_px == pytest.approx(0.75 * heights[0])
