"""Non-maximum suppression with Paddle's native operators.

Both functions work in dygraph, in a graph built by `paddle.jit.to_static` and in the exported
model. They take `boxes_xyxy_px` [B, M, 4] and `scores` [B, C, M] (float32) and return

* `detections` float32 [N, 6]: class, score, x1, y1, x2, y2; the images one after the other,
* `counts` int32 [B]: detections per image; with nothing above the threshold [0, 6] and zeros,
* `index` int32 [N, 1]: image * M + number of the box.
"""

import math
from typing import Any, Callable, Optional, TypeVar

import paddle
from paddle import Tensor
from paddle.base.layer_helper import LayerHelper
from paddle.vision.ops import matrix_nms as paddle_matrix_nms

try:  # Paddle 2.6 has the name in another module than Paddle 3
    from paddle.framework import in_dynamic_or_pir_mode
except ImportError:
    from paddle.base.framework import in_dynamic_or_pir_mode

FIRST_SHARE = 10
"""Multiclass NMS first looks at this many candidates for each detection it may return."""

UNLIMITED_PAIRS = 80 * 1000**2
LEAST_UNLIMITED_TOP_K = 1000
"""The meaning of a configuration's `nms_top_k: -1`, see `effective_top_k`."""

MOST_CANDIDATES = 40_000
"""Candidates of an image, of all classes, that enter multiclass NMS; see `candidate_limit`."""

FIXED_CANDIDATES, MOST_SORTED = 2048, 3840
"""Of a graph of fixed size, see `fixed_candidates`; the second is TensorRT's limit for TopK."""

NO_DETECTION = [-1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
"""A row that fills a place without a detection: class -1, score 0."""


def effective_top_k(nms_top_k: int, num_classes: int) -> int:
    """The number of candidates per class and image that enter NMS.

    -1 stands for as many as keep the comparisons of all classes below UNLIMITED_PAIRS, and for
    LEAST_UNLIMITED_TOP_K at least: 1000 for 80 classes, 2000 for 20, 5163 for 3, 8944 for 1.

    Matrix NMS compares all candidates of a class with one another. An untrained network scores
    every cell of every class above 0.01 (25,200 candidates in each of 80 classes at 640 x 640):
    some 20 s per image on a CPU without a limit, about half a second with this one. A trained
    network has hundreds of candidates of a class, some 25 per object. Where there are more than the
    limit, all that are let in keep their scores, which depend on better ones only.
    """
    if nms_top_k >= 0:
        return int(nms_top_k)
    return max(LEAST_UNLIMITED_TOP_K, math.isqrt(UNLIMITED_PAIRS // num_classes))


def candidate_limit(
    attributes: dict[str, Any], num_classes: int, num_boxes: int = -1
) -> Optional[int]:
    """The number of candidates of an image, of all classes together, that enter multiclass NMS.

    YOLOX lets 10,000 candidates per class in, that is all cells. Untrained, every cell scores above
    its threshold in every class, for which the operator needs half a minute per image. Detections
    of a trained network stay as they are: a candidate only ever suppresses worse ones, so where the
    best fill the `keep_top_k` places, the rest cannot enter, and 40 candidates for each of 1000
    places are let in.

    Args:
        attributes: of the operator, `nms_top_k` as `effective_top_k` gives it.
        num_boxes: of an image; -1 when a graph does not know.

    Returns:
        The limit, FIRST_SHARE x `keep_top_k` at least. None where all may enter: with few
        comparisons in any case (see `effective_top_k`), and where detections are not limited or a
        background class takes places.
    """
    keep_top_k, per_class = attributes["keep_top_k"], attributes["nms_top_k"]
    if keep_top_k < 1 or attributes["background_label"] >= 0:
        return None
    limit = max(MOST_CANDIDATES, FIRST_SHARE * keep_top_k)
    if num_boxes >= 0:
        per_class = min(per_class, num_boxes)
    if num_classes * per_class**2 <= UNLIMITED_PAIRS or 0 <= num_classes * num_boxes <= limit:
        return None
    return int(limit)


def fixed_candidates(keep_top_k: int, compares_all: bool) -> int:
    """The number of candidates of an image, of all classes together, that enter NMS in a graph of
    fixed size: FIRST_SHARE for each row that it returns, FIXED_CANDIDATES at least; not more than
    MOST_SORTED with `compares_all`, for matrix NMS, which compares each with each."""
    limit = max(FIXED_CANDIDATES, FIRST_SHARE * keep_top_k)
    return min(limit, MOST_SORTED) if compares_all else limit


def fixed_rows(detections: Tensor, counts: Tensor, keep_top_k: int) -> Tensor:
    """Detections [N, 6] of all images, with `counts` [B], as [B, keep_top_k, 6]: those of each
    image, then rows of `NO_DETECTION`."""
    place = paddle.arange(keep_top_k, dtype="int64").unsqueeze(0)
    counts = counts.astype("int64").unsqueeze(1)
    before = counts.cumsum(0) - counts
    # 0 is the row that is put in front of all.
    index = paddle.where(place < counts, before + place + 1, paddle.zeros_like(before + place))
    nothing = paddle.to_tensor([NO_DETECTION], "float32")
    rows = paddle.concat([nothing, detections]).gather(index.flatten())
    return rows.reshape([-1, keep_top_k, 6])


def drop_non_finite(boxes_xyxy_px: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Zeroes the score of every candidate whose score or box is not finite, and such a box with it.

    A network whose weights have become NaN thus yields no detections instead of undefined sorting
    inside NMS.
    """
    # The sum is finite when all four corners are: pixel coordinates are too small to overflow.
    sound_box = paddle.isfinite(boxes_xyxy_px.sum(axis=-1, keepdim=True))
    boxes_xyxy_px = paddle.where(sound_box, boxes_xyxy_px, paddle.zeros_like(boxes_xyxy_px))
    sound = paddle.logical_and(paddle.isfinite(scores), sound_box.transpose([0, 2, 1]))
    return boxes_xyxy_px, paddle.where(sound, scores, paddle.zeros_like(scores))


def matrix_nms(
    boxes_xyxy_px: Tensor,
    scores: Tensor,
    *,
    score_threshold: float,
    post_threshold: float,
    nms_top_k: int,
    keep_top_k: int,
    use_gaussian: bool = False,
    gaussian_sigma: float = 2.0,
    background_label: int = -1,
    normalized: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Matrix NMS (SOLOv2, arXiv:2003.10152): no box is removed, scores decay with overlap.

    Args:
        score_threshold: candidates at or below it are dropped before NMS.
        post_threshold: detections below it are dropped after decay.
        nms_top_k: candidates per class; -1: see `effective_top_k`.
        keep_top_k: detections per image; -1 keeps all.
        use_gaussian: decay exp(sigma (m^2 - iou^2)) in place of the linear (1 - iou) / (1 - m).
        background_label: class left out; -1 for none.
        normalized: False counts the last pixel of a box as covered (+1 on width and height).

    Returns:
        detections, counts, index as in the module's header, sorted by score within each image.
    """
    boxes_xyxy_px, scores = drop_non_finite(boxes_xyxy_px, scores)
    detections, counts, index = paddle_matrix_nms(
        boxes_xyxy_px,
        scores,
        score_threshold=float(score_threshold),
        post_threshold=float(post_threshold),
        nms_top_k=effective_top_k(nms_top_k, scores.shape[1]),
        keep_top_k=int(keep_top_k),
        use_gaussian=bool(use_gaussian),
        gaussian_sigma=float(gaussian_sigma),
        background_label=int(background_label),
        normalized=bool(normalized),
        return_index=True,
        return_rois_num=True,
    )
    return detections, counts, index


def multiclass_nms(
    boxes_xyxy_px: Tensor,
    scores: Tensor,
    *,
    score_threshold: float,
    nms_threshold: float,
    nms_top_k: int,
    keep_top_k: int,
    nms_eta: float = 1.0,
    background_label: int = -1,
    normalized: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Greedy NMS per class; arguments that are not listed are those of `matrix_nms`.

    Args:
        nms_threshold: a candidate whose IoU with a kept box of its class exceeds this is dropped.
        nms_eta: factor by which a threshold above 0.5 shrinks after every kept box; 1: never.

    Returns:
        detections, counts, index as in the module's header; by class, then score, in each image.
    """
    boxes_xyxy_px, scores = drop_non_finite(boxes_xyxy_px, scores)
    attributes = {
        "score_threshold": float(score_threshold),
        "nms_top_k": effective_top_k(nms_top_k, scores.shape[1]),
        "keep_top_k": int(keep_top_k),
        "nms_threshold": float(nms_threshold),
        "normalized": bool(normalized),
        "nms_eta": float(nms_eta),
        "background_label": int(background_label),
    }
    limit = _limit_of(scores, attributes)
    if paddle.in_dynamic_mode():
        return _multiclass_nms_best_first(boxes_xyxy_px, scores, attributes, limit)
    if limit is not None:
        scores = _best_of_crowded(scores, attributes["score_threshold"], limit)
    return _native_multiclass_nms(boxes_xyxy_px, scores, attributes)


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _outside_graphs(function: _Function) -> _Function:
    """Decorator: Paddle does not convert the function for graphs."""
    paddle.jit.not_to_static(function)
    return function


@_outside_graphs  # in one a size that is not known would be a tensor, here it is -1
def _limit_of(scores: Tensor, attributes: dict[str, Any]) -> Optional[int]:
    return candidate_limit(attributes, *scores.shape[1:])


@_outside_graphs  # Paddle 2.6 cannot convert its loop, which no graph needs
def _multiclass_nms_best_first(
    boxes_xyxy_px: Tensor, scores: Tensor, attributes: dict[str, Any], most: Optional[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The native operator on no more candidates than decide about the `keep_top_k` best detections.

    A candidate only ever suppresses worse ones, so what NMS makes of the best n of an image stands
    whatever comes after; once that fills `keep_top_k` places, the rest cannot enter. Otherwise n is
    raised fourfold, up to `most` or all. The detections are those of that many candidates (but for
    the choice between equal scores); the time is not.
    """
    keep_top_k, batch = attributes["keep_top_k"], scores.shape[0]
    above = (scores > attributes["score_threshold"]).astype("int32").sum(axis=[1, 2])
    crowd = int(above.max()) if batch else 0
    last = crowd if most is None else min(crowd, most)
    limit = FIRST_SHARE * keep_top_k
    while 0 < limit < last:
        found = _native_multiclass_nms(boxes_xyxy_px, _best(scores, limit), attributes)
        if bool(paddle.logical_or(found[1] >= keep_top_k, above <= limit).all()):
            return found
        limit *= 4
    if last < crowd:
        scores = _best(scores, last)
    return _native_multiclass_nms(boxes_xyxy_px, scores, attributes)


def _best(scores: Tensor, count: int) -> Tensor:
    """Scores [B, C, M] with zeros in place of all but the best `count` of each image."""
    best, places = scores.flatten(1).topk(count, axis=1)
    blank = paddle.zeros_like(scores.flatten(1))
    return paddle.put_along_axis(blank, places, best, axis=1).reshape(scores.shape)


def _best_of_crowded(scores: Tensor, threshold: float, limit: int) -> Tensor:
    """Same as `_best` inside a graph, applied if an image has more than `limit` such scores.

    Sizes depend on that in place of a branch, which not every engine takes: if none has, only the
    first score is sorted and put back in its place.
    """
    flat = scores.flatten(1)
    above = (flat > threshold).astype("float32").sum(axis=1)  # sums of float32 are the fastest
    is_crowded = (above > limit).astype("float32").sum(axis=0) > 0
    count = 1 + is_crowded.astype("int64") * (limit - 1)
    size = 1 + is_crowded.astype("int64") * (2**31 - 2)  # to the end, wherever that is
    best, places = paddle.slice(flat, [1], [0], [size]).topk(count, axis=1)
    # Asked of the result: a TensorRT that took a fixed number of 1 for `count` drops nothing then.
    rest = flat * (paddle.shape(best)[1] != limit).astype("float32")
    return paddle.put_along_axis(rest, places, best, axis=1).reshape([0, scores.shape[1], -1])


def _native_multiclass_nms(
    boxes_xyxy_px: Tensor, scores: Tensor, attributes: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator, whose attributes come in this order."""
    if in_dynamic_or_pir_mode():
        detections, index, counts = paddle._C_ops.multiclass_nms3(
            boxes_xyxy_px, scores, None, *attributes.values()
        )
        return detections, counts, index
    # Static graph of Paddle 2: there is no public function for this operator.
    helper = LayerHelper("multiclass_nms3")
    detections = helper.create_variable_for_type_inference(dtype=boxes_xyxy_px.dtype)
    index = helper.create_variable_for_type_inference(dtype="int32")
    counts = helper.create_variable_for_type_inference(dtype="int32")
    for output in (detections, index, counts):
        output.stop_gradient = True
    helper.append_op(
        type="multiclass_nms3",
        inputs={"BBoxes": boxes_xyxy_px, "Scores": scores},
        attrs=attributes,
        outputs={"Out": detections, "Index": index, "NmsRoisNum": counts},
    )
    return detections, counts, index
