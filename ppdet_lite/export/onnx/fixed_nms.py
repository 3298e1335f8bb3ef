"""Matrix NMS and greedy NMS per class with outputs of a fixed size, for compilers of static graphs.

TensorRT and others take no operator whose output size depends on values: neither NonZero nor
NonMaxSuppression, and no TopK of a computed number. Here every size is known when the graph is
written: the best candidates of an image, all classes together, are put into one row of that length,
and an image has always `keep_top_k` rows, the last of which are `NO_DETECTION`. The rows before
them are those of `nms.py`, in the same order.

A candidate only suppresses worse ones of its class, so all that is computed for the best T stands
whatever comes after them. The rows are therefore the same as without that limit if an image has no
more than T candidates above `score_threshold`, and also if all its rows end with a score above that
of the candidates that were left out: of YOLOX-nano on 128 photos, 100 rows needed at most 912.
"""

from typing import Callable, NamedTuple

import onnx.numpy_helper

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.export.onnx.graph import OnnxGraph, Value
from ppdet_lite.export.onnx.nms import (
    LEAST_UNION,
    Decoded,
    candidate_scores,
    decay_factors,
)
from ppdet_lite.ops.nms import MOST_SORTED, NO_DETECTION, effective_top_k, fixed_candidates

NOT_STATIC = ("NonZero", "NonMaxSuppression", "Compress", "Unique", "Loop", "If", "Scan")
"""Operators whose output sizes depend on values, or that hold graphs of their own."""


class Chosen(NamedTuple):
    """The best T candidates of each image, the highest score first; equal scores by class, then by
    number of the box, as they are sorted everywhere."""

    scores: Value  # [B, T]; 0 from where there are no more
    classes: Value  # [B, T] float32
    boxes_xyxy_px: Value  # [B, T, 4]
    length: int  # T


def fixed_matrix_nms(given: Decoded) -> tuple[Value, Value]:
    """`nms.matrix_nms` of fixed size: rows [B, keep_top_k, 6] and counts int32 [B].

    It compares all T candidates with one another, whatever their classes: T^2 numbers in memory for
    each image.
    """
    g = given.g
    found = _by_class(given, choose(given, compares_all=True))
    rank = g.constant(list(range(found.length)))
    is_better = rank.unsqueeze(1) > rank.unsqueeze(0)  # row i, column j
    is_same = g.op("Equal", found.classes.unsqueeze(2), found.classes.unsqueeze(1))
    factors = decay_factors(g, found.boxes_xyxy_px, is_better & is_same, given.arguments)
    decayed = found.scores * factors
    kept = g.where(decayed > float(given.arguments["post_threshold"]), decayed, 0.0)
    size = min(given.arguments["keep_top_k"], found.length)
    best, position = g.op("TopK", kept, [size], axis=1, outputs=2)
    return rows_at(given, found, best, position, size)


def fixed_multiclass_nms(given: Decoded) -> tuple[Value, Value]:
    """`nms.multiclass_nms` of fixed size: rows [B, keep_top_k, 6] and counts int32 [B].

    Greedy NMS as it is defined, without a table of pairs: `keep_top_k` times the best candidate
    that is left is picked and takes away those of its class that it overlaps. This goes through all
    classes at once, so the picks are the rows, best first, for any input. The graph has 18 nodes
    for each of them, on vectors of T numbers.
    """
    g, arguments = given.g, given.arguments
    if arguments["nms_eta"] != 1:
        found = f"found {arguments['nms_eta']}, allowed in ONNX: 1"
        raise ConfigError(
            f"MultiClassNMS.nms_eta: {found}; use `stage` decoded and run NMS outside"
        )
    chosen = choose(given, compares_all=False)
    count, size = chosen.length, min(arguments["keep_top_k"], chosen.length)
    extents = extents_of(given, chosen)

    def is_near(pick: Value) -> Value:
        return g.op("Squeeze", overlap_with(extents, pick) > float(arguments["nms_threshold"]), [1])

    best, pick = pick_greedily(g, chosen, size, is_near)
    # From the highest score to the order of classes, those without a detection last.
    labels = g.op("GatherElements", chosen.classes, pick, axis=1)
    order = labels * float(count) + pick.cast("float32")
    order = g.where(best > 0.0, order, float(count * given.classes))
    position = g.op("TopK", order, [size], axis=1, largest=0, outputs=2)[1]
    best, pick = (g.op("GatherElements", x, position, axis=1) for x in (best, pick))
    return rows_at(given, chosen, best, pick, size)


def pick_greedily(
    g: OnnxGraph, chosen: Chosen, size: int, is_near: Callable[[Value], Value]
) -> tuple[Value, Value]:
    """The best candidates that no better one takes away, [B, size]: their scores, 0 from where
    there are no more, and their places.

    Args:
        is_near: places [B, 1] of one candidate per image to [B, T], true for those that it takes
            away.
    """
    count = chosen.length
    place = g.constant([list(range(count))])
    # Unlike scores, places are never equal: of those that are left the first has the most to go.
    to_go = g.constant([[float(count - i) for i in range(count)]])
    left = g.where(chosen.scores > 0.0, to_go, 0.0)
    picks = []
    for _ in range(size):
        pick = g.op("ArgMax", left, axis=1, keepdims=1)  # [B, 1]
        picks.append(pick)
        left = g.where(is_near(pick) | g.op("Equal", place, pick), 0.0, left)
    pick = g.concat(picks, axis=1)
    # Picks move on until nothing is left; then the first place comes again and again.
    is_new = pick > g.concat([pick.slice(0, 1, 1) - 1, pick.slice(0, size - 1, 1)], axis=1)
    return g.where(is_new, g.op("GatherElements", chosen.scores, pick, axis=1), 0.0), pick


class Extents(NamedTuple):
    """Boxes in three directions: x, y, and the class, in which all of one class cover the same and
    those of two classes share nothing."""

    low: Value  # [B, 3, T] x1, y1, class
    high: Value  # [B, 3, T] x2, y2, class + 1
    area: Value  # [B, 1, T], above 0
    rows: Value  # [B, T, 7, 1] all of them for each box


def extents_of(given: Decoded, chosen: Chosen) -> Extents:
    """The extents of candidates; those of one class compete."""
    g = given.g
    low, high = chosen.boxes_xyxy_px.split(2, 2, axis=2)
    # Swapped corners make a box without area, as in `nms.multiclass_nms`.
    high = g.op("Max", low, high)
    if not given.arguments["normalized"]:  # the last pixel is covered as well
        high = high + 1.0
    width, height = (high - low).split(1, 1, axis=2)
    label = chosen.classes.unsqueeze(2)
    area = g.op("Max", width * height, LEAST_UNION)
    rows = g.concat([low, label, high, label + 1.0, area], axis=2)
    low, high, area = rows.transpose(0, 2, 1).split(3, 3, 1, axis=1)
    return Extents(low, high, area, rows.unsqueeze(3))


def overlap_with(extents: Extents, pick: Value) -> Value:
    """IoU [B, 1, T] of all boxes with the picked one of each image, [B, 1] its place; 0 with those
    of other classes."""
    g = pick.graph
    one = g.op("GatherND", extents.rows, pick, batch_dims=1)  # [B, 7, 1]
    low, high, area = one.split(3, 3, 1, axis=1)
    sides = g.op("Relu", g.op("Min", extents.high, high) - g.op("Max", extents.low, low))
    width, height, is_same = sides.split(1, 1, 1, axis=1)
    common = width * height * is_same
    return common / (extents.area + area - common)


def choose(given: Decoded, compares_all: bool) -> Chosen:
    """The best candidates of each image: of `ops.nms.fixed_candidates` those that are among the
    `nms_top_k` of their class."""
    g, boxes, scores, classes, arguments = given
    top_k = effective_top_k(arguments["nms_top_k"], classes)
    limit = fixed_candidates(arguments["keep_top_k"], compares_all)
    # An image may have fewer boxes than TopK is asked for.
    boxes = g.op("Pad", boxes, [0, 0, 0, 0, limit, 0])
    scores = g.op("Pad", candidate_scores(given), [0, 0, 0, 0, 0, limit])
    if limit <= MOST_SORTED:
        # The best scores lie in the boxes whose best scores are the highest.
        _, cells = g.op("TopK", scores.max(1), [limit], axis=1, outputs=2)
        cells = _sorted(g, cells, limit)
        boxes = g.op("GatherND", boxes, cells.unsqueeze(2), batch_dims=1)
        every_class = g.op("Expand", cells.unsqueeze(1), [1, classes, 1])
        scores = g.op("GatherElements", scores, every_class, axis=2)
    width, cells = scores.size(2), None
    if top_k < limit:
        scores, cells = largest(g, scores, top_k, axis=2)
        cells, width = cells.reshape(0, -1), g.constant([top_k])
    count = min(limit, classes * top_k)
    best, position = largest(g, scores.reshape(0, -1), count, axis=1)
    label = position / width
    cell = position - label * width
    if cells is not None:
        cell = g.op("GatherElements", cells, position, axis=1)
    chosen = g.op("GatherND", boxes, cell.unsqueeze(2), batch_dims=1)
    return Chosen(best, label.cast("float32"), chosen, count)


def largest(g: OnnxGraph, values: Value, count: int, axis: int) -> tuple[Value, Value]:
    """TopK of any constant number: values, which are not negative, and places along `axis`. The
    values of places that come twice are 0."""
    parts = []
    for start in range(0, count, MOST_SORTED):
        size = min(MOST_SORTED, count - start)
        best, places = g.op("TopK", values, [size], axis=axis, outputs=2)
        parts.append((best, places))
        if start + size < count:
            values = g.op("ScatterElements", values, places, best * 0.0, axis=axis)
    if len(parts) == 1:
        return parts[0]
    bests, all_places = zip(*parts)
    return g.concat(bests, axis=axis), g.concat(all_places, axis=axis)


def _by_class(given: Decoded, chosen: Chosen) -> Chosen:
    """The candidates by class, then score."""
    g, count = given.g, chosen.length
    places = g.constant([[float(i) for i in range(count)]])
    order = chosen.classes * float(count) + places
    position = g.op("TopK", order, [count], axis=1, largest=0, outputs=2)[1]
    scores, classes = (
        g.op("GatherElements", values, position, axis=1)
        for values in (chosen.scores, chosen.classes)
    )
    boxes = g.op("GatherND", chosen.boxes_xyxy_px, position.unsqueeze(2), batch_dims=1)
    return Chosen(scores, classes, boxes, count)


def _sorted(g: OnnxGraph, places: Value, count: int) -> Value:
    """Whole numbers [B, count] below 2^24, rising."""
    return g.op("TopK", places.cast("float32"), [count], axis=1, largest=0, outputs=2)[0].cast(
        "int64"
    )


def rows_at(
    given: Decoded, chosen: Chosen, best: Value, position: Value, size: int
) -> tuple[Value, Value]:
    """Rows [B, keep_top_k, 6] and counts [B] from final scores and places [B, size]; the places of
    scores of 0 hold no detection."""
    g = given.g
    is_kept = best > 0.0
    corners = g.op("GatherND", chosen.boxes_xyxy_px, position.unsqueeze(2), batch_dims=1)
    classes = g.op("GatherElements", chosen.classes, position, axis=1)
    rows = g.concat([classes.unsqueeze(2), best.unsqueeze(2), corners], axis=2)
    rows = g.where(is_kept.unsqueeze(2), rows, g.constant([[NO_DETECTION]]))
    counts = is_kept.cast("int32").sum(1)
    if missing := given.arguments["keep_top_k"] - size:
        nothing = g.constant([[NO_DETECTION] * missing])
        batch = g.concat([given.scores.size(0), [missing, 6]], axis=0)
        rows = g.concat([rows, g.op("Expand", nothing, batch)], axis=1)
    return rows, counts


def operators_not_static(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes, with their operators, that compilers of static graphs refuse: those of
    NOT_STATIC, and TopK with a number that is computed or above MOST_SORTED."""
    constants = {x.name: onnx.numpy_helper.to_array(x) for x in model.graph.initializer}
    found = []
    for node in model.graph.node:
        is_wrong = node.op_type in NOT_STATIC
        if node.op_type == "TopK":
            number = constants.get(node.input[1])
            is_wrong = number is None or number.item() > MOST_SORTED
        if is_wrong:
            found.append(f"{node.op_type} {node.name}")
    return found
