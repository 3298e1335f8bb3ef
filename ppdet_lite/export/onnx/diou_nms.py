"""DIoU-NMS in standard ONNX operators."""

from ppdet_lite.export.onnx.fixed_nms import choose, pick_greedily, rows_at
from ppdet_lite.export.onnx.graph import OnnxGraph, Value
from ppdet_lite.export.onnx.nms import Decoded, candidate_scores
from ppdet_lite.ops.diou_nms import LEAST
from ppdet_lite.ops.nms import effective_top_k

MOST_PICKS = 2**31 - 1
"""In place of `keep_top_k: -1`."""


def diou_nms(given: Decoded) -> tuple[Value, Value]:
    """`ops.diou_nms.diou_nms`: bbox [N, 6], by score in each image, and counts [B].

    A Loop takes the best candidate of every image that is left, as often as there may be
    detections, on vectors of as many numbers as the fullest image has candidates.
    """
    g, boxes, scores, classes, arguments = given
    scores, cells = _best_per_class(given)
    width = scores.size(2)
    flat, cells = scores.reshape(0, -1), cells.reshape(0, -1)
    crowd = (flat > 0.0).cast("float32").sum(1).max(0).cast("int64").reshape(1)
    crowd = g.op("Max", crowd, [1])  # not every engine sorts nothing
    best, position = g.op("TopK", flat, crowd, axis=1, outputs=2)  # [B, T]
    labels = (position / width).cast("float32")
    cells = g.op("GatherElements", cells, position, axis=1)
    chosen = g.op("GatherND", boxes, cells.unsqueeze(2), batch_dims=1)
    kept = _greedy(g, best, labels, chosen, arguments)
    rows = g.concat([labels.unsqueeze(2), best.unsqueeze(2), chosen], axis=2)
    spots = g.op("NonZero", kept).transpose(1, 0)
    return g.op("GatherND", rows, spots), kept.sum(1).cast("int32")


def fixed_diou_nms(given: Decoded) -> tuple[Value, Value]:
    """`diou_nms` of fixed size, see `fixed_nms`: rows [B, keep_top_k, 6] and counts int32 [B]."""
    g, arguments, chosen = given.g, given.arguments, choose(given, compares_all=False)

    def is_near(pick: Value) -> Value:
        box = g.op("GatherND", chosen.boxes_xyxy_px, pick, batch_dims=1).unsqueeze(1)
        measure = suppression_measure(g, chosen.boxes_xyxy_px, box, arguments["beta"])
        label = g.op("GatherElements", chosen.classes, pick, axis=1)
        is_same = g.op("Equal", chosen.classes, label)
        return (measure > float(arguments["nms_threshold"])) & is_same

    size = min(arguments["keep_top_k"], chosen.length)
    return rows_at(given, chosen, *pick_greedily(g, chosen, size, is_near), size)


def _best_per_class(given: Decoded) -> tuple[Value, Value]:
    """The `nms_top_k` best scores of each class [B, C, K] and the numbers of their boxes; 0 for
    what is no candidate."""
    g, scores = given.g, candidate_scores(given)
    top_k = effective_top_k(given.arguments["nms_top_k"], given.classes)
    size = g.op("Min", scores.size(2), [top_k])
    best, cells = g.op("TopK", scores, size, axis=2, outputs=2)
    return best, cells


def _greedy(g: OnnxGraph, best: Value, labels: Value, boxes: Value, arguments: dict) -> Value:
    """1 where a candidate is kept, else 0: [B, T] float32."""
    picks = arguments["keep_top_k"] if arguments["keep_top_k"] >= 0 else MOST_PICKS
    left = (best > 0.0).cast("float32")
    body = _pick_graph(arguments)
    state = [left, left * 0.0, labels, boxes]
    start = g.op("Greater", left.max(0, 1), 0.0)
    found = g.op("Loop", g.constant(picks), start, *state, outputs=4, body=body.graph)
    return found[1]


def _pick_graph(arguments: dict) -> OnnxGraph:
    """One turn of the Loop: takes the best candidate that is left [B, T], keeps it, and drops those
    of its class that are too near. Labels and boxes go through unchanged."""
    g = OnnxGraph(prefix="pick")
    g.input("turn", "int64", [])
    g.input("goes_on", "bool", [])
    left = g.input("left", "float32", ["batch", "candidates"])
    kept = g.input("kept", "float32", ["batch", "candidates"])
    labels = g.input("labels", "float32", ["batch", "candidates"])
    boxes = g.input("boxes", "float32", ["batch", "candidates", 4])
    pick = g.op("ArgMax", left, axis=1, keepdims=1)  # [B, 1]
    places = g.range(left.size(1)).unsqueeze(0)
    is_pick = g.op("Equal", places, pick).cast("float32") * left
    box = g.op("GatherND", boxes, pick, batch_dims=1).unsqueeze(1)  # [B, 1, 4]
    is_near = suppression_measure(g, boxes, box, arguments["beta"]) > float(
        arguments["nms_threshold"]
    )
    is_same = g.op("Equal", labels, g.op("GatherElements", labels, pick, axis=1))
    stays = (~(is_near & is_same)).cast("float32")
    remaining = left * stays * (1.0 - is_pick)
    g.output("goes_on_next", remaining.max(0, 1) > 0.0, "bool", [])
    for name, value in (("left", remaining), ("kept", kept + is_pick), ("labels", labels)):
        g.output(f"{name}_next", value, "float32", ["batch", "candidates"])
    g.output("boxes_next", boxes, "float32", ["batch", "candidates", 4])
    return g


def suppression_measure(g: OnnxGraph, boxes_a: Value, boxes_b: Value, beta: float) -> Value:
    """`ops.diou_nms.suppression_measure` of corner boxes [B, T, 4] and [B, 1, 4]: [B, T]."""
    low_a, high_a = boxes_a.split(2, 2, axis=2)
    low_b, high_b = boxes_b.split(2, 2, axis=2)

    def area(low: Value, high: Value) -> Value:
        width, height = g.op("Relu", high - low).split(1, 1, axis=2)
        return width * height

    common = area(g.op("Max", low_a, low_b), g.op("Min", high_a, high_b))
    union = area(low_a, high_a) + area(low_b, high_b) - common
    hull = g.op("Max", high_a, high_b) - g.op("Min", low_a, low_b)
    centers = (low_a + high_a - low_b - high_b) * 0.5
    diagonal = g.op("Max", (hull * hull).sum(2), LEAST)
    share = (centers * centers).sum(2) / diagonal
    iou = g.op("Squeeze", common / g.op("Max", union, LEAST), [2])
    return iou - share ** float(beta)
