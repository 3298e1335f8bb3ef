"""`TopScores` in standard ONNX operators."""

from ppdet_lite.export.onnx.best_class_nms import choose_best_classes
from ppdet_lite.export.onnx.fixed_nms import rows_at
from ppdet_lite.export.onnx.graph import Value
from ppdet_lite.export.onnx.nms import Decoded


def top_scores(given: Decoded) -> tuple[Value, Value]:
    """`modeling.post_process.top_scores.TopScores`: bbox [N, 6] and counts [B]."""
    g, arguments = given.g, given.arguments
    total = given.boxes_xyxy_px.sum(2)
    bad_box = (g.op("IsNaN", total) | g.op("IsInf", total)).unsqueeze(1)
    scores = g.where(g.op("IsNaN", given.scores) | bad_box, 0.0, given.scores)
    best, label = g.op("TopK", scores, [1], axis=1, outputs=2)  # [B, 1, M]
    best, label = best.reshape(0, -1), label.reshape(0, -1)
    count = g.op("Min", best.size(1), [int(arguments["keep_top_k"])])
    kept, place = g.op("TopK", best, count, axis=1, outputs=2)  # [B, K]
    is_kept = ~(kept < float(arguments["score_threshold"]))
    spots = g.op("NonZero", is_kept).transpose(1, 0)  # [N, 2] image, rank
    image = spots.slice(0, 1, 1)
    boxes = g.concat([image, g.op("GatherND", place, spots).unsqueeze(1)], axis=1)
    rows = [
        g.op("GatherND", label, boxes).cast("float32").unsqueeze(1),
        g.op("GatherND", kept, spots).unsqueeze(1),
        g.op("GatherND", given.boxes_xyxy_px, boxes),
    ]
    return g.concat(rows, axis=1), is_kept.cast("int32").sum(1)


def fixed_top_scores(given: Decoded) -> tuple[Value, Value]:
    """The same of fixed size, see `fixed_nms`: rows [B, keep_top_k, 6] and counts [B]."""
    chosen = choose_best_classes(given)[1]
    size = min(given.arguments["keep_top_k"], chosen.length)
    best, place = given.g.op("TopK", chosen.scores, [size], axis=1, outputs=2)
    return rows_at(given, chosen, best, place, size)
