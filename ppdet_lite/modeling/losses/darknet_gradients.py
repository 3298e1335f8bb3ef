"""The gradients of box overlaps as darknet computes them, which are not the derivatives.

They go back to the authors of GIoU (arXiv:1902.09630) and DIoU (arXiv:1911.08287). Against the true
derivatives by x, y, w, h of a box: the IoU part is exact for x and y and twice as large for w and
h; in the distance part the enclosing box enters x and y with the wrong sign; the aspect part lacks
1 / (w^2 + h^2). Networks of darknet were trained with them.
"""

import math

import paddle
from paddle import Tensor


def box_gradient(boxes_cxcywh: Tensor, target_cxcywh: Tensor, kind: str) -> Tensor:
    """Direction that raises the overlap: [E, 4] and [E, 4] to x, y, w, h [E, 4].

    Args:
        kind: "iou", "giou", "diou" or "ciou"; the last two mean the textbook form.
    """
    sides = paddle.split(_sides(boxes_cxcywh), 4, axis=1)
    left, top, right, bottom = sides
    t_left, t_top, t_right, t_bottom = paddle.split(_sides(target_cxcywh), 4, axis=1)
    zero = paddle.zeros_like(left)
    width, height = right - left, bottom - top
    common_w = paddle.minimum(right, t_right) - paddle.maximum(left, t_left)
    common_h = paddle.minimum(bottom, t_bottom) - paddle.maximum(top, t_top)
    common = common_w * common_h
    union = width * height + (t_right - t_left) * (t_bottom - t_top) - common
    hull_w = paddle.maximum(right, t_right) - paddle.minimum(left, t_left)
    hull_h = paddle.maximum(bottom, t_bottom) - paddle.minimum(top, t_top)
    hull = hull_w * hull_h

    # By the sides left, top, right, bottom: [E, 4].
    area_by = paddle.concat([-height, -width, height, width], axis=1)
    inside = [left > t_left, top > t_top, right < t_right, bottom < t_bottom]
    lengths = [-common_h, -common_w, common_h, common_w]
    common_by = _where(inside, lengths, zero)
    union_by = area_by - common_by
    by = (union * common_by - common * union_by) / union.square()
    by = paddle.where(union > 0, by, paddle.zeros_like(by))
    apart = paddle.logical_or(common_w <= 0, common_h <= 0)
    if kind == "giou":
        outside = [left < t_left, top < t_top, right > t_right, bottom > t_bottom]
        hull_by = _where(outside, [-hull_h, -hull_w, hull_h, hull_w], zero)
        term = (hull * union_by - union * hull_by) / hull.square()
        by = paddle.where(apart, term, by + term)
    left_by, top_by, right_by, bottom_by = paddle.split(by, 4, axis=1)
    # Twice the derivative for w and h.
    gradient = paddle.concat(
        [left_by + right_by, top_by + bottom_by, right_by - left_by, bottom_by - top_by], axis=1
    )
    if kind in ("diou", "ciou"):
        hull_sides = paddle.concat([hull_w, hull_h], axis=1)
        term = _distance_term(boxes_cxcywh, target_cxcywh, hull_sides)
        if kind == "ciou":
            iou = common / union
            term = term + _aspect_term(boxes_cxcywh, target_cxcywh, iou)
        gradient = paddle.where(apart, term, gradient + term)
    return gradient


def _sides(boxes_cxcywh: Tensor) -> Tensor:
    """Center and size [E, 4] to left, top, right, bottom [E, 4]."""
    center, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    return paddle.concat([center - half, center + half], axis=1)


def _where(conditions: list[Tensor], values: list[Tensor], zero: Tensor) -> Tensor:
    """Columns of `values` where the conditions hold, else 0."""
    chosen = [paddle.where(where, value, zero) for where, value in zip(conditions, values)]
    return paddle.concat(chosen, axis=1)


def _distance_term(boxes_cxcywh: Tensor, target_cxcywh: Tensor, hull_sides: Tensor) -> Tensor:
    """Of the squared distance of the centers over the squared diagonal of the enclosing box."""
    low, high = paddle.split(_sides(boxes_cxcywh), 2, axis=1)
    t_low, t_high = paddle.split(_sides(target_cxcywh), 2, axis=1)
    is_low, is_high = (low < t_low).astype("float32"), (high > t_high).astype("float32")
    away = target_cxcywh[:, :2] - boxes_cxcywh[:, :2]
    distance = away.square().sum(axis=1, keepdim=True)
    diagonal = hull_sides.square().sum(axis=1, keepdim=True)
    by_center = 2 * hull_sides * (is_high - is_low)
    by_size = 2 * hull_sides * (is_high + is_low) / 2
    center = (2 * away * diagonal - by_center * distance) / diagonal.square()
    return paddle.concat([center, by_size * distance / diagonal.square()], axis=1)


def _aspect_term(boxes_cxcywh: Tensor, target_cxcywh: Tensor, iou: Tensor) -> Tensor:
    """Of the aspect ratio, weighted by alpha."""
    w, h = boxes_cxcywh[:, 2:3], boxes_cxcywh[:, 3:]
    t_w, t_h = target_cxcywh[:, 2:3], target_cxcywh[:, 3:]
    angle = paddle.atan(t_w / t_h) - paddle.atan(w / h)
    v = 4 / math.pi**2 * angle.square()
    alpha = v / (1 - iou + v + 1e-6)
    step = 8 / math.pi**2 * angle * alpha
    zero = paddle.zeros_like(step)
    return paddle.concat([zero, zero, step * h, -step * w], axis=1)
