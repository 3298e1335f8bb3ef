"""Records of detections."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.utils.detection_rows import coco_records, detection_records

ROWS = np.array([[2, 0.3, 1, 2, 3, 4], [0, 0.9, 10.12345, 20, 30, 45], [1, 0.1, 0, 0, 1, 1]])


def test_records_hold_names_pixels_and_the_best_score_first():
    assert detection_records(ROWS, ["person", "traffic light"], 0.2) == [
        {"class_id": 0, "class_name": "person", "score": 0.9, "box": [10.123, 20.0, 30.0, 45.0]},
        {"class_id": 2, "class_name": "class 2", "score": 0.3, "box": [1.0, 2.0, 3.0, 4.0]},
    ]


def test_rows_that_mark_nothing_found_are_left_out():
    rows = np.array([[-1, 0.5, 0, 0, 1, 1], [-1, 0, 0, 0, 0, 0], [0, 0.4, 1, 2, 3, 4]])
    assert [record["score"] for record in coco_records(rows, 5, "a.jpg")] == [0.4]
    assert len(detection_records(rows, ["a"])) == 1


def test_coco_records():
    first, *others = coco_records(ROWS, 5, "a.jpg", category_ids=[7, 8, 9])
    assert first == {
        "image_id": 5,
        "file_name": "a.jpg",
        "category_id": 7,
        "bbox": [10.123, 20.0, 19.877, 25.0],
        "score": 0.9,
    }
    assert [record["category_id"] for record in others] == [9, 8]
    assert [record["category_id"] for record in coco_records(ROWS, 5, "a.jpg")] == [0, 2, 1]
    with pytest.raises(ConfigError, match="category_ids: 1 entries, .* class 2"):
        coco_records(ROWS, 5, "a.jpg", category_ids=[7])
