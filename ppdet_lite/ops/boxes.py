"""Box arithmetic on paddle tensors; differentiable. `boxes_np.py` is the twin for numpy arrays.

`boxes_xyxy` are corners x1, y1, x2, y2; `boxes_cxcywh` are center and size, shape [..., 4], in any
unit. The pairwise overlaps (`iou` to `ciou`) compare two arrays of the same (or broadcastable)
shape element by element and return [...]; `iou_matrix` compares everything with everything.
"""

import math

import paddle
from paddle import Tensor

EPS = 1e-9
"""Added to denominators. Boxes are fractions of the image here, so areas down to 1e-6 matter."""


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Center and size [..., 4] to corners [..., 4]."""
    center, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return paddle.concat([center - half, center + half], axis=-1)


def box_area(boxes_xyxy: Tensor) -> Tensor:
    """Area of corner boxes [..., 4], shape [...]; 0 for inverted ones."""
    size = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clip(min=0)
    return size[..., 0] * size[..., 1]


def _overlap(boxes_a_xyxy: Tensor, boxes_b_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection and union area of corresponding boxes."""
    top_left = paddle.maximum(boxes_a_xyxy[..., :2], boxes_b_xyxy[..., :2])
    bottom_right = paddle.minimum(boxes_a_xyxy[..., 2:], boxes_b_xyxy[..., 2:])
    size = (bottom_right - top_left).clip(min=0)
    common = size[..., 0] * size[..., 1]
    return common, box_area(boxes_a_xyxy) + box_area(boxes_b_xyxy) - common


def _hull_size(boxes_a_xyxy: Tensor, boxes_b_xyxy: Tensor) -> Tensor:
    """Width and height [..., 2] of the smallest box around each pair."""
    top_left = paddle.minimum(boxes_a_xyxy[..., :2], boxes_b_xyxy[..., :2])
    return paddle.maximum(boxes_a_xyxy[..., 2:], boxes_b_xyxy[..., 2:]) - top_left


def iou(boxes_a_xyxy: Tensor, boxes_b_xyxy: Tensor) -> Tensor:
    """Intersection over union of corresponding boxes, in [0, 1]."""
    common, union = _overlap(boxes_a_xyxy, boxes_b_xyxy)
    return common / (union + EPS)


def giou(boxes_a_xyxy: Tensor, boxes_b_xyxy: Tensor) -> Tensor:
    """Generalized IoU (arXiv:1902.09630): IoU - (hull - union) / hull, in [-1, 1]."""
    common, union = _overlap(boxes_a_xyxy, boxes_b_xyxy)
    hull_size = _hull_size(boxes_a_xyxy, boxes_b_xyxy)
    hull = hull_size[..., 0] * hull_size[..., 1]
    return common / (union + EPS) - (hull - union) / (hull + EPS)


def diou(boxes_a_xyxy: Tensor, boxes_b_xyxy: Tensor) -> Tensor:
    """Distance IoU (arXiv:1911.08287): IoU - (center distance / hull diagonal)^2, in [-1, 1]."""
    diagonal_squared = _hull_size(boxes_a_xyxy, boxes_b_xyxy).square().sum(axis=-1)
    centers_a = boxes_a_xyxy[..., :2] + boxes_a_xyxy[..., 2:]
    centers_b = boxes_b_xyxy[..., :2] + boxes_b_xyxy[..., 2:]
    distance_squared = (centers_a - centers_b).square().sum(axis=-1) / 4
    return iou(boxes_a_xyxy, boxes_b_xyxy) - distance_squared / (diagonal_squared + EPS)


def ciou(boxes_a_xyxy: Tensor, boxes_b_xyxy: Tensor) -> Tensor:
    """Complete IoU (arXiv:1911.08287): DIoU - alpha v, v the difference of aspect ratio angles.

    As in the paper, alpha = v / (1 - IoU + v) is a weight and passes no gradient. `boxes_b_xyxy`
    is the ground truth.
    """
    size_a = boxes_a_xyxy[..., 2:] - boxes_a_xyxy[..., :2]
    size_b = boxes_b_xyxy[..., 2:] - boxes_b_xyxy[..., :2]
    angle_a = paddle.atan(size_a[..., 0] / (size_a[..., 1] + EPS))
    angle_b = paddle.atan(size_b[..., 0] / (size_b[..., 1] + EPS))
    v = 4 / math.pi**2 * (angle_b - angle_a).square()
    with paddle.no_grad():
        alpha = v / (1 - iou(boxes_a_xyxy, boxes_b_xyxy) + v + EPS)
    return diou(boxes_a_xyxy, boxes_b_xyxy) - alpha * v


def iou_matrix(boxes_a_xyxy: Tensor, boxes_b_xyxy: Tensor) -> Tensor:
    """IoU of every pair: [B, N, 4] and [B, M, 4] to [B, N, M]; 0 where both boxes are empty."""
    return iou(boxes_a_xyxy.unsqueeze(2), boxes_b_xyxy.unsqueeze(1))
