"""Matrix NMS and greedy NMS per class in standard ONNX operators.

They give the rows of Paddle's own operators, in the same order. Candidates are first gathered into
rows, one for each class of each image that has any, each sorted by score and as wide as the fullest
one: [R, K]. What costs is R K^2 comparisons of two boxes. A trained detector has some ten classes
in a picture and some hundred candidates in the fullest; `nms_top_k` is the limit for one that
finds everything everywhere.
"""

from typing import NamedTuple

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.engine.onnx_graph import OnnxGraph, Value
from ppdet_lite.ops.nms import effective_top_k


class Candidates(NamedTuple):
    """What enters NMS.

    Attributes:
        boxes_xyxy_px: [R, K, 4].
        scores: [R, K], falling; 0 where a row has no more candidates.
        places: [R, K] number of each box among all boxes of the batch, image * M + box.
        rows: [R] image * C + class.
        total_rows: int64 [1], B * C.
        width: int64 [1], K.
    """

    boxes_xyxy_px: Value
    scores: Value
    places: Value
    rows: Value
    total_rows: Value
    width: Value


def matrix_nms(g: OnnxGraph, boxes_xyxy_px: Value, scores: Value, classes: int, arguments: dict):
    """`ops.nms.matrix_nms` with `arguments`; [B, M, 4] and [B, C, M] to bbox [N, 6], counts [B]."""
    boxes_xyxy_px, scores = drop_non_finite(g, boxes_xyxy_px, scores)
    found = gather_candidates(g, boxes_xyxy_px, scores, classes, arguments)
    iou = pairwise_iou(g, found.boxes_xyxy_px, arguments["normalized"])
    # A candidate is compared with those of higher score only: column j < row i.
    rank = g.range(found.width)
    better = rank.unsqueeze(1) > rank.unsqueeze(0)
    iou = g.where(better, iou, 0.0)
    most = iou.max(2).unsqueeze(1)  # of each j, its own largest overlap with a better one
    if arguments["use_gaussian"]:
        decay = g.op("Exp", (most * most - iou * iou) * float(arguments["gaussian_sigma"]))
    else:
        # A j that covers a better one exactly would divide by zero; it decides nothing.
        left = 1.0 - most
        alone = left > 0.0
        decay = g.where(alone, (1.0 - iou) / g.where(alone, left, 1.0), 1.0)
    factor = g.op("Min", g.where(better, decay, 1.0).min(2), 1.0)
    decayed = found.scores * factor
    is_kept = (decayed > float(arguments["post_threshold"])) & (found.scores > 0.0)
    return _best_of_image(
        g, found, g.where(is_kept, decayed, 0.0), boxes_xyxy_px, classes, arguments, by_class=False
    )


def multiclass_nms(
    g: OnnxGraph, boxes_xyxy_px: Value, scores: Value, classes: int, arguments: dict
):
    """`ops.nms.multiclass_nms` with `arguments`; shapes as in `matrix_nms`.

    Raises:
        ConfigError: a threshold that changes on the way, which ONNX cannot express.
    """
    if arguments["nms_eta"] != 1:
        raise ConfigError(
            f"MultiClassNMS.nms_eta: found {arguments['nms_eta']}, allowed in ONNX: 1 (its "
            "NonMaxSuppression has one threshold); export with --stage decoded and run NMS outside"
        )
    boxes_xyxy_px, scores = drop_non_finite(g, boxes_xyxy_px, scores)
    found = gather_candidates(g, boxes_xyxy_px, scores, classes, arguments)
    x1, y1, x2, y2 = found.boxes_xyxy_px.split(1, 1, 1, 1, axis=2)
    # The operator swaps corners in the wrong order; such a box has no area and suppresses nothing.
    x2, y2 = g.op("Max", x1, x2), g.op("Max", y1, y2)
    if not arguments["normalized"]:  # the last pixel is covered as well
        x2, y2 = x2 + 1.0, y2 + 1.0
    rows = found.scores.size(0)
    selected = g.op(  # each row is an image with one class; columns [row, 0, candidate]
        "NonMaxSuppression",
        g.concat([x1, y1, x2, y2], axis=2),
        found.scores.unsqueeze(1),
        found.width,
        [float(arguments["nms_threshold"])],
        [0.0],
    )
    spots = selected.slice(0, 1, 1) * found.width + selected.slice(2, 3, 1)
    flat = found.scores.reshape(-1)
    picked = g.op("GatherND", flat, spots)
    empty = g.op("Expand", 0.0, rows * found.width)
    kept = g.op("ScatterND", empty, spots, picked).reshape(rows, found.width)
    return _best_of_image(g, found, kept, boxes_xyxy_px, classes, arguments, by_class=True)


def drop_non_finite(g: OnnxGraph, boxes_xyxy_px: Value, scores: Value):
    """As `ops.nms.drop_non_finite`: zero score for what has become infinite or no number."""

    def unsound(x):
        return g.op("IsNaN", x) | g.op("IsInf", x)

    bad_box = unsound(boxes_xyxy_px.sum(2, keepdims=True))
    bad = unsound(scores) | bad_box.transpose(0, 2, 1)
    return g.where(bad_box, 0.0, boxes_xyxy_px), g.where(bad, 0.0, scores)


def gather_candidates(
    g: OnnxGraph, boxes_xyxy_px: Value, scores: Value, classes: int, arguments: dict
) -> Candidates:
    """The best `nms_top_k` candidates of every class of every image that has any."""
    cells, total_rows = scores.size(2), scores.size(0) * classes
    flat = scores.reshape(-1, cells)
    is_candidate = flat > float(arguments["score_threshold"])
    background = arguments["background_label"]
    row = g.range(total_rows)
    if 0 <= background < classes:
        is_foreground = ~g.op("Equal", row % classes, background)
        is_candidate = is_candidate & is_foreground.unsqueeze(1)
    count = is_candidate.cast("int64").sum(1)
    # One row and one column always stay, as not every engine sorts nothing; its scores are zero.
    width = g.op("Max", count.max(0).reshape(1), [1])
    width = g.op("Min", width, [effective_top_k(arguments["nms_top_k"], classes)])
    is_first = g.op("Equal", row, 0)
    rows = g.op("NonZero", (count > 0) | is_first).reshape(-1)
    best, index = g.op("TopK", g.where(is_candidate, flat, 0.0).gather(rows), width, outputs=2)
    places = (rows / classes).unsqueeze(1) * cells + index
    boxes = boxes_xyxy_px.reshape(-1, 4).gather(places)
    return Candidates(boxes, best, places, rows, total_rows, width)


def pairwise_iou(g: OnnxGraph, boxes_xyxy: Value, normalized: bool) -> Value:
    """IoU of all pairs of each row: [R, K, 4] to [R, K, K].

    normalized: False counts the last pixel of a box as covered. Boxes that do not touch overlap by
    0 all the same, and one whose corners are swapped has no area.
    """
    extra = 0.0 if normalized else 1.0
    x1, y1, x2, y2 = boxes_xyxy.split(1, 1, 1, 1, axis=2)  # [R, K, 1]
    wrong = (x2 < x1) | (y2 < y1)
    area = g.where(wrong, 0.0, (x2 - x1 + extra) * (y2 - y1 + extra))

    def across(x):
        return x.transpose(0, 2, 1)

    width = g.op("Min", x2, across(x2)) - g.op("Max", x1, across(x1))
    height = g.op("Min", y2, across(y2)) - g.op("Max", y1, across(y1))
    apart = (width < 0.0) | (height < 0.0)
    overlap = (width + extra) * (height + extra)
    union = area + across(area) - overlap
    return g.where(apart | ~(union > 0.0), 0.0, overlap / union)


def _best_of_image(
    g: OnnxGraph,
    found: Candidates,
    kept: Value,
    boxes_xyxy_px: Value,
    classes: int,
    arguments: dict,
    by_class: bool,
):
    """The `keep_top_k` best of each image as rows class, score, corners.

    Args:
        kept: [R, K] final scores, 0 for what NMS dropped.
        by_class: rows by class, then score; else by score.

    Returns:
        bbox [N, 6], the images one after the other, and counts int32 [B].
    """

    def spread(values, blank):
        """[R, K] to [B, C K], with the rows that had no candidates."""
        shape = g.concat([found.total_rows, found.width], axis=0)
        whole = g.op("ScatterND", g.op("Expand", blank, shape), found.rows.unsqueeze(1), values)
        return whole.reshape(-1, found.width * classes)

    scores, places = spread(kept, 0.0), spread(found.places, 0)
    limit = found.width * classes
    if arguments["keep_top_k"] > 0:
        limit = g.op("Min", limit, [arguments["keep_top_k"]])
    best, position = g.op("TopK", scores, limit, axis=1, outputs=2)  # [B, limit]
    if by_class:
        none = g.op("Expand", 0.0, g.op("Shape", scores))
        is_kept = g.op("ScatterElements", none, position, best, axis=1) > 0.0
    else:
        is_kept = best > 0.0
    spots = g.op("NonZero", is_kept).transpose(1, 0)  # [N, 2] image, column
    if not by_class:
        column = g.op("GatherND", position, spots).unsqueeze(1)
        spots = g.concat([spots.slice(0, 1, 1), column], axis=1)
    bbox = g.concat(
        [
            (spots.slice(1, 2, 1) / found.width).cast("float32"),
            g.op("GatherND", scores, spots).unsqueeze(1),
            boxes_xyxy_px.reshape(-1, 4).gather(g.op("GatherND", places, spots)),
        ],
        axis=1,
    )
    return bbox, is_kept.cast("int32").sum(1)
