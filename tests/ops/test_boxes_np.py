"""Box arithmetic against values worked out by hand."""

import numpy as np

from ppdet_lite.ops import boxes_np

BOX = np.array([[10.0, 20.0, 30.0, 60.0]], dtype=np.float32)


def test_conversion_by_hand():
    np.testing.assert_array_equal(boxes_np.xyxy_to_cxcywh(BOX), [[20, 40, 20, 40]])
    none = boxes_np.xyxy_to_cxcywh(np.zeros((0, 4), dtype=np.float32))
    assert none.shape == (0, 4)
    assert none.dtype == np.float32


def test_area_of_inverted_box_is_zero_and_offset_counts_the_last_pixel():
    boxes = np.array([[0.0, 0, 2, 3], [5, 5, 4, 9], [1, 1, 1, 1]])
    np.testing.assert_array_equal(boxes_np.box_area(boxes), [6, 0, 0])
    np.testing.assert_array_equal(boxes_np.box_area(boxes, offset=1), [12, 0, 1])


def test_clip_leaves_the_input_alone():
    boxes = np.array([[-5.0, -1, 300, 50]], dtype=np.float32)
    before = boxes.copy()
    np.testing.assert_array_equal(boxes_np.clip_boxes(boxes, 40, 200), [[0, 0, 200, 40]])
    np.testing.assert_array_equal(boxes, before)


def test_iou_by_hand():
    a = np.array([[0.0, 0, 2, 2], [0, 0, 0, 0]])
    b = np.array([[1.0, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 0, 0]])
    np.testing.assert_allclose(boxes_np.iou_matrix(a, b), [[1 / 7, 1, 0, 0], [0, 0, 0, 0]])
    # with the +1 convention the first pair shares 2 x 2 of 9 + 9 pixels
    np.testing.assert_allclose(boxes_np.iou_matrix(a, b, offset=1)[0, 0], 4 / 14)
    assert boxes_np.iou_matrix(np.zeros((0, 4)), b).shape == (0, 4)


def test_coverage():
    boxes = np.array([[0.0, 0, 4, 4], [3, 3, 3, 9]])
    region = np.array([2.0, 0, 10, 10])
    np.testing.assert_allclose(boxes_np.coverage_matrix(boxes, region[None]), [[0.5], [0]])


def test_size_iou_by_hand():
    sizes = np.array([[10.0, 20]])
    anchors = np.array([[10.0, 20], [20, 10], [5, 5]])
    np.testing.assert_allclose(boxes_np.wh_iou_matrix(sizes, anchors), [[1, 100 / 300, 25 / 200]])
