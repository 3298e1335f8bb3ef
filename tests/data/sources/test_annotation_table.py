"""Flat columns and the cleaning of boxes."""

import numpy as np

from ppdet_lite.data.sources.annotation_table import StringColumn
from ppdet_lite.data.sources.box_cleaning import clean_boxes


def test_strings_as_one_block():
    names = ["a.jpg", "", "Überfall/ä.png", "bad\udcff.jpg"]
    column = StringColumn(names)
    assert [column[i] for i in range(len(column))] == names


def test_cleaning_leaves_its_input_alone_and_takes_no_boxes():
    boxes = np.array([[5.0, 5.0, 1.0, 1.0]])
    repaired, keep, _ = clean_boxes(boxes, np.array([10]), np.array([10]))
    assert boxes.tolist() == [[5, 5, 1, 1]]
    assert repaired.tolist() == [[1, 1, 5, 5]] and keep.tolist() == [True]
    none = clean_boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0))
    assert none[0].shape == (0, 4) and none[1].shape == (0,)
