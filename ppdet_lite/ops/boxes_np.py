"""Box arithmetic on numpy arrays, for the data pipeline and the metrics.

`boxes.py` is the twin for paddle tensors. `boxes_xyxy` are corners x1, y1, x2, y2; `boxes_cxcywh`
are center and size. A function does not care whether the unit is pixels or a fraction of the image
unless it says so. Arrays have shape [..., 4]; no function changes its input.
"""

import numpy as np


def xyxy_to_cxcywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Corners [..., 4] to center and size [..., 4]."""
    top_left, bottom_right = boxes_xyxy[..., :2], boxes_xyxy[..., 2:4]
    return np.concatenate([(top_left + bottom_right) / 2, bottom_right - top_left], axis=-1)


def box_area(boxes_xyxy: np.ndarray, offset: float = 0.0) -> np.ndarray:
    """Area of corner boxes, shape [...]; 0 for inverted ones.

    Args:
        offset: added to width and height; 1 for the convention in which x2, y2 are the last covered
            pixel (VOC).
    """
    size = np.maximum(boxes_xyxy[..., 2:4] - boxes_xyxy[..., :2] + offset, 0)
    area: np.ndarray = size[..., 0] * size[..., 1]
    return area


def clip_boxes(boxes_xyxy: np.ndarray, height: float, width: float) -> np.ndarray:
    """Corner boxes cut to the image rectangle [0, width] x [0, height], same shape and dtype."""
    limit = np.array([width, height, width, height], dtype=boxes_xyxy.dtype)
    clipped: np.ndarray = np.minimum(np.maximum(boxes_xyxy, boxes_xyxy.dtype.type(0)), limit)
    return clipped


def intersection_matrix(
    boxes_a_xyxy: np.ndarray, boxes_b_xyxy: np.ndarray, offset: float = 0.0
) -> np.ndarray:
    """Area shared by every pair of boxes: [N, 4], [M, 4] to [N, M]; `offset` as in `box_area`."""
    # One axis after the other: numpy is slow where the last dimension holds only x and y.
    left_a, top_a, right_a, bottom_a = boxes_a_xyxy.T[:4, :, None]
    left_b, top_b, right_b, bottom_b = boxes_b_xyxy.T[:4]
    width = np.minimum(right_a, right_b) - np.maximum(left_a, left_b) + offset
    height = np.minimum(bottom_a, bottom_b) - np.maximum(top_a, top_b) + offset
    area: np.ndarray = np.maximum(width, 0) * np.maximum(height, 0)
    return area


def iou_matrix(
    boxes_a_xyxy: np.ndarray, boxes_b_xyxy: np.ndarray, offset: float = 0.0
) -> np.ndarray:
    """IoU of every pair of corner boxes: [N, 4] and [M, 4] to [N, M]; 0 where both boxes are empty.

    `offset` as in `box_area`.
    """
    common = intersection_matrix(boxes_a_xyxy, boxes_b_xyxy, offset)
    area_a, area_b = box_area(boxes_a_xyxy, offset), box_area(boxes_b_xyxy, offset)
    union: np.ndarray = area_a[:, None] + area_b[None, :] - common
    return common / np.where(union > 0, union, 1)  # nothing in common where there is no union


def coverage_matrix(boxes_xyxy: np.ndarray, regions_xyxy: np.ndarray) -> np.ndarray:
    """Share of each box inside each region: [N, 4] and [M, 4] to [N, M]; 0 for empty boxes."""
    common = intersection_matrix(boxes_xyxy, regions_xyxy)
    area = np.broadcast_to(box_area(boxes_xyxy)[:, None], common.shape)
    return _quotient(common, area)


def near_boxes(boxes_a_xyxy: np.ndarray, boxes_b_xyxy: np.ndarray) -> np.ndarray:
    """True [N] where no edge differs by more than 1 pixel or 5 % of the side of the box in `b`."""
    sides = boxes_b_xyxy[:, 2:] - boxes_b_xyxy[:, :2]
    allowed = np.maximum(0.05 * np.tile(sides, 2), 1)
    near: np.ndarray = (np.abs(boxes_a_xyxy - boxes_b_xyxy) <= allowed).all(axis=1)
    return near


def wh_iou_matrix(sizes_a: np.ndarray, sizes_b: np.ndarray) -> np.ndarray:
    """IoU of concentric boxes, from sizes: [N, 2], [M, 2] to [N, M]; 0 where both are empty."""
    common = np.minimum(sizes_a[:, None], sizes_b[None]).prod(axis=-1)
    union = sizes_a.prod(axis=-1)[:, None] + sizes_b.prod(axis=-1)[None] - common
    return _quotient(common, union)


def _quotient(dividend: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """0 where the divisor is not positive."""
    found: np.ndarray = np.divide(dividend, divisor, out=np.zeros_like(dividend), where=divisor > 0)
    return found
