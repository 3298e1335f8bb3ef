"""`BestClassNMS` in standard ONNX operators."""

from ppdet_lite.export.onnx.fixed_nms import (
    Chosen,
    choose,
    extents_of,
    overlap_with,
    pick_greedily,
    rows_at,
)
from ppdet_lite.export.onnx.graph import OnnxGraph, Value
from ppdet_lite.export.onnx.nms import Decoded

EVERY = (1 << 31) - 1
"""Candidates per class: no limit."""

BEHIND_ALL = 1e30
"""Place of a row that is always there, as not every engine sorts nothing."""


def best_class_nms(given: Decoded) -> tuple[Value, Value]:
    """`modeling.post_process.best_class_nms.BestClassNMS`: bbox [N, 6] and counts [B]."""
    g, arguments = given.g, given.arguments
    total = given.boxes_xyxy_px.sum(2)
    bad_box = (g.op("IsNaN", total) | g.op("IsInf", total)).unsqueeze(1)
    scores = g.where(g.op("IsNaN", given.scores) | bad_box, 0.0, given.scores)
    best, label = g.op("TopK", scores, [1], axis=1, outputs=2)  # [B, 1, M]
    best = g.where(best < float(arguments["score_threshold"]), 0.0, best)
    spread = best
    if not arguments["class_agnostic"]:
        classes = g.range(scores.size(1)).reshape(1, -1, 1)
        spread = g.where(g.op("Equal", label, classes), best, 0.0)
    selected = g.op(  # [N, 3] image, class, box
        "NonMaxSuppression",
        given.boxes_xyxy_px,
        spread,
        scores.size(2),
        [float(arguments["nms_threshold"])],
        [0.0],
    )
    image, box = selected.slice(0, 1, 1), selected.slice(2, 3, 1)
    spots = g.concat([image, box], axis=1)
    picked = g.op("GatherND", best.reshape(0, -1), spots)
    order = _order(g, image.reshape(-1).cast("float32") * 2.0 - picked)
    spots, picked = spots.gather(order), picked.gather(order)
    images = g.range(scores.size(0)).unsqueeze(0)
    counts = g.op("Equal", spots.slice(0, 1, 1), images).cast("int32").sum(0)
    if arguments["keep_top_k"] > 0:
        keep = [int(arguments["keep_top_k"])]
        ends = g.op("CumSum", counts.cast("int64"), 0)
        starts = (ends - counts.cast("int64")).gather(spots.slice(0, 1, 1).reshape(-1))
        rank = g.range(spots.size(0)) - starts
        kept = g.op("NonZero", rank < keep).reshape(-1)
        spots, picked = spots.gather(kept), picked.gather(kept)
        counts = g.op("Min", counts.cast("int64"), keep).cast("int32")
    labels = g.op("GatherND", label.reshape(0, -1), spots).cast("float32").unsqueeze(1)
    corners = g.op("GatherND", given.boxes_xyxy_px, spots)
    return g.concat([labels, picked.unsqueeze(1), corners], axis=1), counts


def fixed_best_class_nms(given: Decoded) -> tuple[Value, Value]:
    """The same of fixed size, see `fixed_nms`: rows [B, keep_top_k, 6] and counts [B]."""
    g, arguments = given.g, given.arguments
    one_class, chosen = choose_best_classes(given)
    together = chosen
    if arguments["class_agnostic"]:
        together = chosen._replace(classes=chosen.classes * 0.0)
    extents = extents_of(one_class, together)
    threshold = float(arguments["nms_threshold"])

    def is_near(pick: Value) -> Value:
        return g.op("Squeeze", overlap_with(extents, pick) > threshold, [1])

    size = min(arguments["keep_top_k"], chosen.length)
    best, pick = pick_greedily(g, chosen, size, is_near)
    return rows_at(given, chosen, best, pick, size)


def choose_best_classes(given: Decoded) -> tuple[Decoded, Chosen]:
    """What NMS would get if there were one class, and its best candidates with the best class of
    each box."""
    g, arguments = given.g, given.arguments
    scores = g.where(g.op("IsNaN", given.scores), 0.0, given.scores)
    best, label = g.op("TopK", scores, [1], axis=1, outputs=2)  # [B, 1, M]
    best = g.where(best < float(arguments["score_threshold"]), 0.0, best)
    labels = label.transpose(0, 2, 1).cast("float32")
    labeled = g.concat([given.boxes_xyxy_px, labels], axis=2)  # [B, M, 5], all of one class
    more = {"score_threshold": 0.0, "nms_top_k": EVERY, "background_label": -1}
    one_class = Decoded(g, labeled, best, 1, {**arguments, **more, "normalized": True})
    found = choose(one_class, compares_all=False)
    boxes, labels = found.boxes_xyxy_px.split(4, 1, axis=2)
    return one_class, found._replace(boxes_xyxy_px=boxes, classes=g.op("Squeeze", labels, [2]))


def _order(g: OnnxGraph, keys: Value) -> Value:
    """Indices [N] of `keys` in rising order."""
    padded = g.concat([keys, [BEHIND_ALL]], axis=0)
    order = g.op("TopK", padded, padded.size(0), largest=0, outputs=2)[1]
    return g.op("Slice", order, [0], keys.size(0), [0])
