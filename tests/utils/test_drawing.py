"""Drawing is checked on pixels: colors, contrast, position and size of what appears."""

import numpy as np
import pytest

from ppdet_lite.utils import drawing
from ppdet_lite.utils.drawing import (
    DrawStyle,
    class_color,
    draw_detections,
    line_width,
    text_color,
)

NAMES = ["person", "traffic light", "Platelets"]
SIZES = [(48, 64), (480, 640), (2000, 3000)]


def one_box(size_hw, class_id=1, score=0.87):
    height, width = size_hw
    return np.array([[class_id, score, width * 0.3, height * 0.5, width * 0.6, height * 0.9]])


def gray(size_hw, level=128):
    return np.full((*size_hw, 3), level, np.uint8)


def drawn_area(before, after):
    """x1, y1, x2, y2 (exclusive) of the pixels that changed."""
    ys, xs = np.nonzero((before != after).any(axis=2))
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


# ------------------------------------------------------------------------------------------ colors
def test_class_colors_are_stable_and_distinguishable():
    assert class_color(0) == (255, 42, 13)
    colors = np.array([class_color(i) for i in range(80)], float)
    gaps = np.linalg.norm(colors[:, None] - colors[None], axis=2) + 1e9 * np.eye(80)
    assert gaps.min() > 12
    assert min(gaps[i, i + 1] for i in range(79)) > 100


def test_text_contrasts_with_every_class_color():
    def luminance(rgb):
        c = np.array(rgb) / 255
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [
            0.2126,
            0.7152,
            0.0722,
        ]

    for class_id in range(100):
        color = class_color(class_id)
        high, low = sorted([luminance(color), luminance(text_color(color))], reverse=True)
        assert (high + 0.05) / (low + 0.05) > 4.5  # WCAG's bound for normal text


# ---------------------------------------------------------------------------------------- drawing
@pytest.mark.parametrize("size_hw", SIZES)
def test_lines_and_text_follow_the_size_of_the_image(size_hw):
    image = gray(size_hw)
    drawn = draw_detections(image, one_box(size_hw), NAMES)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (image == 128).all()
    height, width = size_hw
    assert line_width(size_hw) == max(1, round((height * width) ** 0.5 / 320))
    # The right edge of the box in the class color, at half its height.
    assert tuple(drawn[int(height * 0.7), round(width * 0.6)]) == class_color(1)
    left, top, right, bottom = drawn_area(image, drawn)
    label_height = round(height * 0.5) - top
    assert label_height >= max(8, (height * width) ** 0.5 / 42)
    assert label_height < height / 2


def test_low_scores_are_not_drawn():
    image = gray((48, 64))
    assert (draw_detections(image, one_box((48, 64), score=0.4), NAMES, 0.41) == image).all()
    assert (draw_detections(image, one_box((48, 64), score=0.4), NAMES, 0.4) != image).any()


def test_nothing_to_draw_and_rows_that_are_not_numbers():
    image = gray((48, 64))
    assert (draw_detections(image, np.zeros((0, 6), np.float32), NAMES) == image).all()
    broken = one_box((48, 64))
    broken[0, 2] = np.nan
    assert (draw_detections(image, broken, NAMES) == image).all()


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 300), (300, 1), (12, 20), (64, 64), (300, 3000)])
def test_awkward_sizes_and_boxes_at_every_border(size_hw):
    height, width = size_hw
    rows = [
        [0, 0.9, -5, -5, width * 0.2, height * 0.2],
        [1, 0.8, width - 2, height - 2, width + 9, height + 9],
        [2, 0.7, 0, 0, 0, 0],
        [7, 0.6, -50, -50, -20, -20],
    ]
    drawn = draw_detections(gray(size_hw), np.array(rows), NAMES, 0.5)
    assert drawn.shape == (*size_hw, 3)


def test_very_small_images_can_be_enlarged():
    small = gray((48, 64))
    drawn = draw_detections(small, one_box((48, 64)), NAMES, min_side=320)
    assert drawn.shape == (240, 320, 3)
    assert tuple(drawn[int(48 * 0.7) * 5, round(64 * 0.6 * 5)]) == class_color(1)
    same = draw_detections(gray((480, 640)), one_box((480, 640)), NAMES, min_side=320)
    assert same.shape == (480, 640, 3)


def test_names_beyond_the_list_and_style():
    rows = one_box((480, 640))
    full = draw_detections(gray((480, 640)), rows, NAMES)
    plain = draw_detections(gray((480, 640)), rows, NAMES, style=DrawStyle(labels=False))
    left, top, *_ = drawn_area(gray((480, 640)), plain)
    assert (left, top) == (191, 239)  # the box and its line
    name = draw_detections(gray((480, 640)), rows, NAMES, style=DrawStyle(scores=False))
    assert (full != plain).sum() > (name != plain).sum() > 0
    unknown = draw_detections(gray((480, 640)), rows + [[8, 0, 0, 0, 0, 0]], NAMES)
    assert (unknown != full).any()


def test_long_names_are_shortened():
    rows = one_box((480, 640))
    long, longer = ([NAMES[0], letters * "n"] for letters in (60, 300))
    drawn = [draw_detections(gray((480, 640)), rows, names) for names in (long, longer)]
    np.testing.assert_array_equal(*drawn)


def test_letters_that_no_font_has_are_said_once(caplog, monkeypatch):
    monkeypatch.setattr(drawing, "can_draw", lambda text: False)
    drawing._warn_of_letters.cache_clear()
    rows = np.concatenate([one_box((480, 640), class_id) for class_id in (0, 1)])
    draw_detections(gray((480, 640)), rows, ["\u72ac", "\u732b"])
    (record,) = caplog.records
    assert "letters that no font here has" in record.getMessage()
    assert "PPDET_FONT" in record.getMessage()


def test_numbers_stand_beside_the_boxes_and_names_at_the_right():
    rows = np.concatenate([one_box((480, 640), class_id) for class_id in (0, 1, 2)] * 20)
    drawn = draw_detections(gray((480, 640)), rows, NAMES, style=DrawStyle(numbers=True))
    assert drawn.shape[0] == 480 and drawn.shape[1] > 800
    panel = drawn[:, 640:]
    for class_id in (0, 1, 2):  # a mark in the color of each class
        assert (panel == class_color(class_id)).all(axis=2).sum() > 50
    alone = draw_detections(gray((480, 640)), rows[:0], NAMES, style=DrawStyle(numbers=True))
    assert alone.shape == (480, 640, 3)


def test_small_boxes_have_thin_lines():
    assert line_width((2000, 3000)) == 8 and line_width((2000, 3000), 40) == 2
    assert line_width((2000, 3000), 4) == 1 and line_width((2000, 3000), 900) == 8


def test_other_arrays_are_refused():
    with pytest.raises(ValueError, match=r"expected a uint8 image \[H, W, 3\], got float32 \[4"):
        draw_detections(np.zeros((4, 4, 3), np.float32), np.zeros((0, 6)), NAMES)
