"""Greedy NMS per class on IoU minus a penalty for the distance of the centers (DIoU-NMS,
arXiv:1911.08287), in Paddle's operators.

`suppression_measure` is the measure, `diou_nms` the NMS; `diou_nms_np.py` holds both for numpy.
"""

import paddle
from paddle import Tensor

from ppdet_lite.ops.boxes import box_area
from ppdet_lite.ops.nms import drop_non_finite, effective_top_k

LEAST = 1e-30
"""In place of the union or diagonal of boxes without area."""


def suppression_measure(boxes_a_xyxy: Tensor, boxes_b_xyxy: Tensor, beta: float) -> Tensor:
    """IoU - (squared distance of the centers / squared diagonal of the hull)^beta, [...].

    beta 1 is the published measure; darknet has 0.6.
    """
    low_a, high_a = boxes_a_xyxy[..., :2], boxes_a_xyxy[..., 2:]
    low_b, high_b = boxes_b_xyxy[..., :2], boxes_b_xyxy[..., 2:]
    # Paddle 3.3 has no maximum and minimum in graphs of Paddle 2.
    is_later, is_longer = low_a > low_b, high_a > high_b
    low, high = paddle.where(is_later, low_a, low_b), paddle.where(is_longer, high_b, high_a)
    sides = (high - low).clip(min=0.0)
    common = sides[..., 0] * sides[..., 1]
    union = box_area(boxes_a_xyxy) + box_area(boxes_b_xyxy) - common
    hull = paddle.where(is_longer, high_a, high_b) - paddle.where(is_later, low_b, low_a)
    diagonal = hull.square().sum(axis=-1)
    distance = (low_a + high_a - low_b - high_b).square().sum(axis=-1) / 4
    return common / union.clip(min=LEAST) - (distance / diagonal.clip(min=LEAST)) ** beta


def diou_nms(
    boxes_xyxy_px: Tensor,
    scores: Tensor,
    *,
    score_threshold: float,
    nms_threshold: float,
    beta: float,
    nms_top_k: int,
    keep_top_k: int,
    background_label: int = -1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Keeps the best candidate of an image that is left, drops those of its class whose
    `suppression_measure` with it exceeds `nms_threshold`, and so on.

    Other arguments, inputs and outputs are those of `ops.nms`; detections come by score in each
    image. Candidates of all classes are compared at once, `keep_top_k` times at most.
    """
    boxes_xyxy_px, scores = drop_non_finite(boxes_xyxy_px, scores)
    classes = scores.shape[1]
    if 0 <= background_label < classes:
        is_foreground = paddle.arange(classes).reshape([1, classes, 1]) != background_label
        scores = scores * is_foreground.astype("float32")
    scores = scores * (scores > score_threshold).astype("float32")
    per_class = paddle.shape(scores)[2].clip(max=effective_top_k(nms_top_k, classes))
    scores, cells = scores.topk(per_class, axis=2)
    width = paddle.shape(scores)[2]
    flat, cells = scores.flatten(1), cells.flatten(1)
    crowd = (flat > 0).astype("int64").sum(axis=1).max().clip(min=1)
    best, position = flat.topk(crowd, axis=1)  # [B, T]
    labels = position // width.astype("int64")
    cells = paddle.take_along_axis(cells, position, axis=1)
    boxes = paddle.take_along_axis(boxes_xyxy_px, cells.unsqueeze(2), axis=1)
    kept = _greedy(best, labels, boxes, nms_threshold, beta, keep_top_k)
    return _rows(kept, best, labels, boxes, cells, boxes_xyxy_px)


def _greedy(
    scores: Tensor,
    labels: Tensor,
    boxes_xyxy: Tensor,
    threshold: float,
    beta: float,
    most: int,
) -> Tensor:
    """1 where a candidate is kept, else 0: [B, T] float32. Scores fall, those of 0 are none."""
    count = paddle.shape(scores)[1]
    places = paddle.arange(count, dtype="int64").unsqueeze(0)
    # Falling, and never equal: of those that are left the first has the most to go. topk, because
    # Paddle 3.3 has no argmax in graphs of Paddle 2.
    to_go = (count.astype("int64") - places).astype("float32")

    def goes_on(step: Tensor, left: Tensor, kept: Tensor) -> Tensor:
        is_left = left.max() > 0
        return is_left if most < 0 else paddle.logical_and(is_left, step < most)

    def take(step: Tensor, left: Tensor, kept: Tensor) -> list[Tensor]:
        pick = left.topk(1, axis=1)[1]  # [B, 1]
        # Nothing where nothing is left.
        is_pick = paddle.logical_and(places == pick, left > 0).astype("float32")
        box = paddle.take_along_axis(boxes_xyxy, pick.unsqueeze(2), axis=1)
        is_near = suppression_measure(boxes_xyxy, box, beta) > threshold
        is_same = labels == paddle.take_along_axis(labels, pick, axis=1)
        stays = 1 - paddle.logical_and(is_near, is_same).astype("float32")
        return [step + 1, left * stays * (1 - is_pick), kept + is_pick]

    left = (scores > 0).astype("float32") * to_go
    start = [paddle.zeros([1], dtype="int64"), left, paddle.zeros_like(left)]
    return paddle.static.nn.while_loop(goes_on, take, start)[2]


def _rows(
    kept: Tensor, scores: Tensor, labels: Tensor, boxes: Tensor, cells: Tensor, every: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Detections, counts and index as in `ops.nms`."""
    rows = paddle.concat(
        [labels.unsqueeze(2).astype("float32"), scores.unsqueeze(2), boxes], axis=2
    )
    chosen = paddle.nonzero(kept)  # [N, 2]
    image = paddle.arange(paddle.shape(cells)[0], dtype="int64").unsqueeze(1)
    index = cells + image * paddle.shape(every)[1].astype("int64")
    detections = paddle.gather_nd(rows, chosen)
    return (
        detections,
        kept.sum(axis=1).astype("int32"),
        paddle.gather_nd(index, chosen).astype("int32").unsqueeze(1),
    )
