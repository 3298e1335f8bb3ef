"""Boxes that repeat others."""

import numpy as np

from ppdet_lite.data.sources.box_cleaning import repeated_rows


def test_repeated_rows_are_those_after_the_first_equal_one():
    boxes = np.array([[0, 0, 5, 5]] * 5 + [[0, 0, 5, 5.5]], np.float32)
    images, classes = np.array([0, 0, 1, 0, 0, 0]), np.array([1, 1, 1, 2, 1, 1])
    keep = np.array([False, True, True, True, True, True])
    assert repeated_rows(images, classes, boxes, keep).tolist() == [4]
    assert repeated_rows(images, classes, boxes, np.zeros(6, bool)).tolist() == []
