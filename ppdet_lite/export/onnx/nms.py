"""Matrix NMS and greedy NMS per class in standard ONNX operators.

They give the rows of Paddle's own operators, in the same order. Candidates are first gathered into
rows, one for each class of each image that has any, each sorted by score and as wide as the fullest
one: [R, K]. What costs are the R K^2 comparisons of two boxes in matrix NMS, so rows are compared
in groups of like width. A trained detector has some ten classes in an image and some hundred
candidates in the fullest; `nms_top_k` is the limit for one that finds everything everywhere, and
in greedy NMS `ops.nms.candidate_limit`.
"""

from typing import Any, NamedTuple, Optional

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.export.onnx.graph import OnnxGraph, Value
from ppdet_lite.ops.nms import candidate_limit, effective_top_k

GROUP_WIDTHS = (64, 512)
"""Up to so many candidates a row belongs to the first and the second group; the last has no end."""

LEAST_UNION = 1e-30
"""In place of the union of two boxes without area, whose overlap is 0 as well."""


class Decoded(NamedTuple):
    """The input of NMS: boxes_xyxy_px [B, M, 4], scores [B, C, M], C, and its `arguments`."""

    g: OnnxGraph
    boxes_xyxy_px: Value
    scores: Value
    classes: int
    arguments: dict[str, Any]


class Candidates(NamedTuple):
    """Boxes and scores in rows, one for each class of an image."""

    boxes_xyxy_px: Value  # [R, K, 4]
    scores: Value  # [R, K], falling; 0 where a row has no more candidates
    places: Value  # [R, K] number of each box among all boxes of the batch, image * M + box
    rows: Value  # [R] image * C + class
    counts: Value  # float32 [R] candidates of each row, at most K of which are here
    total_rows: Value  # int64 [1], B * C
    width: Value  # int64 [1], K


def matrix_nms(given: Decoded) -> tuple[Value, Value]:
    """`ops.nms.matrix_nms`: bbox [N, 6] and counts [B]."""
    g, found = given.g, gather_candidates(given)
    decayed = g.op("Expand", 0.0, g.op("Shape", found.scores))
    for lower, upper in zip((0, *GROUP_WIDTHS), (*GROUP_WIDTHS, None)):
        decayed = _decay_group(given, found, decayed, lower, upper)
    is_kept = decayed > float(given.arguments["post_threshold"])
    return _best_of_image(given, found, g.where(is_kept, decayed, 0.0), by_class=False)


def _decay_group(
    given: Decoded, found: Candidates, decayed: Value, lower: int, upper: Optional[int]
) -> Value:
    """`decayed` [R, K] with the rows that have above `lower` and up to `upper` candidates.

    The first row is always among them, as not every engine takes no rows. If it does not belong
    here, then either a later group overwrites it or it comes out the same as before.
    """
    g, width = given.g, found.width
    belongs = found.counts > float(lower)
    if upper is not None:
        belongs = belongs & ~(found.counts > float(upper))
        width = g.op("Min", width, [upper])
    is_first = g.op("Equal", g.range(found.rows.size(0)), 0)
    rows = g.op("NonZero", belongs | is_first).reshape(-1)
    scores = g.op("Slice", found.scores.gather(rows), [0], width, [1])
    boxes = g.op("Slice", found.boxes_xyxy_px.gather(rows), [0], width, [1])
    rank = g.range(width)
    is_better = rank.unsqueeze(1) > rank.unsqueeze(0)  # row i, column j
    values = scores * decay_factors(g, boxes, is_better, given.arguments)
    pads = g.concat([[0, 0, 0], found.width - width], axis=0)
    return g.op("ScatterND", decayed, rows.unsqueeze(1), g.op("Pad", values, pads))


def decay_factors(g: OnnxGraph, boxes_xyxy: Value, is_better: Value, arguments: dict) -> Value:
    """Factors of the scores [R, K] for boxes [R, K, 4]: the least over all better boxes j of
    f(overlap with j) / f(largest overlap of j with a better one), at most 1. `is_better` [K, K] or
    [R, K, K] is true where j, the column, is better than the row's box.
    """
    # No overlap where j is not better: that gives a factor of 1 or more below.
    iou = g.where(is_better, pairwise_iou(g, boxes_xyxy, arguments["normalized"]), 0.0)
    most = iou.max(2).unsqueeze(1)
    if arguments["use_gaussian"]:
        factor = g.op("Exp", (most * most - iou * iou) * float(arguments["gaussian_sigma"]))
    else:
        # A j that covers a better one exactly would divide by zero; it decides nothing.
        left = 1.0 - most
        decides = left > 0.0
        factor = (1.0 - iou) / g.where(decides, left, 1.0) + g.where(decides, 0.0, 1.0)
    return g.op("Min", factor.min(2), 1.0)


def multiclass_nms(given: Decoded) -> tuple[Value, Value]:
    """`ops.nms.multiclass_nms`: bbox [N, 6] and counts [B]; a ConfigError for a threshold that
    changes on the way, which ONNX cannot express."""
    g, arguments = given.g, given.arguments
    if arguments["nms_eta"] != 1:
        raise ConfigError(
            f"MultiClassNMS.nms_eta: found {arguments['nms_eta']}, allowed in ONNX: 1 (its "
            "NonMaxSuppression has one threshold); use `stage` decoded and run NMS outside"
        )
    top_k = effective_top_k(arguments["nms_top_k"], given.classes)
    limit = candidate_limit({**arguments, "nms_top_k": top_k}, given.classes)
    found = gather_candidates(given, limit)
    x1, y1, x2, y2 = found.boxes_xyxy_px.split(1, 1, 1, 1, axis=2)
    # The operator swaps corners in the wrong order; such a box has no area and suppresses nothing.
    x2, y2 = g.op("Max", x1, x2), g.op("Max", y1, y2)
    if not arguments["normalized"]:  # the last pixel is covered as well
        x2, y2 = x2 + 1.0, y2 + 1.0
    selected = g.op(  # each row is an image with one class; columns [row, 0, candidate]
        "NonMaxSuppression",
        g.concat([x1, y1, x2, y2], axis=2),
        found.scores.unsqueeze(1),
        found.width,
        [float(arguments["nms_threshold"])],
        [0.0],
    )
    spots = selected.slice(0, 1, 1) * found.width + selected.slice(2, 3, 1)
    picked = g.op("GatherND", found.scores.reshape(-1), spots)
    rows = found.scores.size(0)
    empty = g.op("Expand", 0.0, rows * found.width)
    kept = g.op("ScatterND", empty, spots, picked).reshape(rows, found.width)
    return _best_of_image(given, found, kept, by_class=True)


def gather_candidates(given: Decoded, limit: Optional[int] = None) -> Candidates:
    """The best `nms_top_k` candidates of every class of every image that has any, without NaN
    scores and boxes that are not finite; `limit` is that of an image, all classes together."""
    g, boxes, scores, classes, arguments = given
    cells, total_rows = scores.size(2), scores.size(0) * classes
    row = g.range(total_rows)
    scores = candidate_scores(given)
    if limit is not None:
        scores = best_of_crowded(g, scores, classes, limit)
    scores = scores.reshape(-1, cells)
    # One row and one column always stay, as not every engine sorts nothing; its scores are zero.
    is_first = g.op("Equal", row, 0)
    rows = g.op("NonZero", (scores.max(1) > 0.0) | is_first).reshape(-1)
    scores = scores.gather(rows)
    # Counted in float32, where a sum is many times faster than in int64.
    counts = (scores > 0.0).cast("float32").sum(1)
    width = g.op("Max", counts.max(0).cast("int64").reshape(1), [1])
    width = g.op("Min", width, [effective_top_k(arguments["nms_top_k"], classes)])
    best, index = g.op("TopK", scores, width, outputs=2)
    places = (rows / classes).unsqueeze(1) * cells + index
    chosen = boxes.reshape(-1, 4).gather(places)
    return Candidates(chosen, best, places, rows, counts, total_rows, width)


def candidate_scores(given: Decoded) -> Value:
    """Scores [B, C, M], 0 where they are not above `score_threshold`, not a number, of the
    background class, or of a box that is not finite."""
    g, boxes, scores, classes, arguments = given
    total = boxes.sum(2)
    bad_box = (g.op("IsNaN", total) | g.op("IsInf", total)).unsqueeze(1)
    is_candidate = (scores > float(arguments["score_threshold"])) & ~bad_box
    background = arguments["background_label"]
    if 0 <= background < classes:
        is_foreground = np.arange(classes).reshape(1, classes, 1) != background
        is_candidate = is_candidate & g.constant(is_foreground)
    return g.where(is_candidate, scores, 0.0)


def best_of_crowded(g: OnnxGraph, scores: Value, classes: int, limit: int) -> Value:
    """Scores [B, C, M]; if an image has more than `limit` above 0, zeros in place of all but the
    best `limit` of each.

    As in `ops.nms`, sizes depend on that in place of a branch.
    """
    cells = scores.size(2)
    flat = scores.reshape(-1, cells * classes)
    most = (flat > 0.0).cast("float32").sum(1).max(0).reshape(1)
    is_crowded = most > float(limit)
    whole = is_crowded.cast("int64")
    size, count = whole * (cells * classes - 1) + 1, whole * (limit - 1) + 1
    part = g.op("Slice", flat, [0], size, [1])
    best, places = g.op("TopK", part, count, axis=1, outputs=2)
    rest = g.where(is_crowded, 0.0, flat)
    return g.op("ScatterElements", rest, places, best, axis=1).reshape(-1, classes, cells)


def pairwise_iou(g: OnnxGraph, boxes_xyxy: Value, normalized: bool) -> Value:
    """IoU of all pairs of each row: [R, K, 4] to [R, K, K].

    Not `normalized` counts the last pixel of a box as covered. Boxes that do not touch overlap by 0
    all the same, and one whose corners are swapped has no area.
    """
    extra = 0.0 if normalized else 1.0
    x1, y1, x2, y2 = boxes_xyxy.split(1, 1, 1, 1, axis=2)  # [R, K, 1]
    is_swapped = (x2 < x1) | (y2 < y1)
    area = g.where(is_swapped, 0.0, (x2 - x1 + extra) * (y2 - y1 + extra))

    def common(low: Value, high: Value) -> Value:
        end = g.op("Min", high, high.transpose(0, 2, 1))
        length = end - g.op("Max", low, low.transpose(0, 2, 1))
        return g.op("Relu", length) if normalized else g.where(length < 0.0, 0.0, length + 1.0)

    overlap = common(x1, x2) * common(y1, y2)
    union = area + area.transpose(0, 2, 1) - overlap
    return overlap / g.op("Max", union, LEAST_UNION)


def _best_of_image(
    given: Decoded, found: Candidates, kept: Value, by_class: bool
) -> tuple[Value, Value]:
    """The `keep_top_k` best of each image as rows class, score, corners, with final scores `kept`
    [R, K], 0 for what NMS dropped; rows by class, then score, or by score alone. Gives bbox [N, 6],
    the images one after the other, and counts int32 [B]."""
    g, width, keep = given.g, found.width, given.arguments["keep_top_k"]

    def spread(values: Value, blank: float) -> Value:
        """[R, K] to [B, C K], with the rows that had no candidates."""
        shape = g.concat([found.total_rows, width], axis=0)
        whole = g.op("ScatterND", g.op("Expand", blank, shape), found.rows.unsqueeze(1), values)
        return whole.reshape(-1, width * given.classes)

    scores, places = spread(kept, 0.0), spread(found.places, 0)
    limit = width * given.classes
    if keep > 0:
        limit = g.op("Min", limit, [keep])
    best, position = g.op("TopK", scores, limit, axis=1, outputs=2)  # [B, limit]
    is_kept = best > 0.0
    if by_class:
        none = g.op("Expand", 0.0, g.op("Shape", scores))
        is_kept = g.op("ScatterElements", none, position, best, axis=1) > 0.0
    spots = g.op("NonZero", is_kept).transpose(1, 0)  # [N, 2] image, column
    if not by_class:
        column = g.op("GatherND", position, spots).unsqueeze(1)
        spots = g.concat([spots.slice(0, 1, 1), column], axis=1)
    corners = given.boxes_xyxy_px.reshape(-1, 4).gather(g.op("GatherND", places, spots))
    classes = (spots.slice(1, 2, 1) / width).cast("float32")
    scores = g.op("GatherND", scores, spots).unsqueeze(1)
    return g.concat([classes, scores, corners], axis=1), is_kept.cast("int32").sum(1)
