"""Decoding of raw head outputs in standard ONNX operators.

Both functions compute what `detector.decode` does.

Args:
    raw: the head's raw outputs per level.
    inputs: of the graph, by name.

Returns:
    boxes_xyxy_px [B, M, 4] of the original images, and scores [B, C, M].
"""

from typing import Any, Sequence

from ppdet_lite.export.onnx.graph import OnnxGraph, Value


def yolo_box(
    g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]
) -> tuple[Value, Value]:
    """`modeling.post_process.box_decoders.YOLOBox`."""
    decoder = detector.post_process.decode
    original = g.op("Floor", inputs["im_shape"] / inputs["scale_factor"] + 0.5)
    height, width = (x.reshape(-1, 1, 1, 1) for x in original.split(1, 1, axis=1))
    boxes, scores = [], []
    for output, level in zip(raw, detector.head.levels):
        level_boxes, level_scores = _yolo_level(g, output, level, decoder, height, width)
        boxes.append(level_boxes)
        scores.append(level_scores)
    return g.concat(boxes, axis=1), g.concat(scores, axis=2)


def _yolo_level(g: OnnxGraph, output: Value, level, decoder, height, width):
    """One level: boxes [B, A H W, 4] and scores [B, C, A H W]; everything inside is [B, A, ?, HW].

    height, width: of the original images, [B, 1, 1, 1].
    """
    anchors, classes = len(level.anchors), decoder.num_classes
    rows, columns = output.size(2), output.size(3)
    iou_logit, factor = None, level.iou_aware_factor
    if factor is not None:
        iou_logit, output = output.split(anchors, anchors * (5 + classes), axis=1)
        iou_logit = iou_logit.reshape(0, anchors, 1, -1)
    output = output.reshape(0, anchors, 5 + classes, -1)
    x, y, w, h, objectness, class_logits = output.split(1, 1, 1, 1, 1, classes, axis=2)

    cell = g.range(rows * columns)
    column, row = (cell % columns).cast("float32"), (cell / columns).cast("float32")
    grid_w, grid_h = columns.cast("float32"), rows.cast("float32")
    scale, shift = float(level.scale_x_y), -0.5 * (level.scale_x_y - 1)
    center_x = (column + g.op("Sigmoid", x) * scale + shift) * width / grid_w
    center_y = (row + g.op("Sigmoid", y) * scale + shift) * height / grid_h
    anchor_w, anchor_h = (
        g.constant([float(anchor[i]) for anchor in level.anchors]).reshape(1, anchors, 1, 1)
        for i in (0, 1)
    )
    half_w = g.op("Exp", w) * anchor_w * width / (grid_w * float(level.stride)) / 2.0
    half_h = g.op("Exp", h) * anchor_h * height / (grid_h * float(level.stride)) / 2.0
    left, right = center_x - half_w, center_x + half_w
    top, bottom = center_y - half_h, center_y + half_h
    if decoder.clip_bbox:
        left, top = g.op("Max", left, 0.0), g.op("Max", top, 0.0)
        right, bottom = g.op("Min", right, width - 1.0), g.op("Min", bottom, height - 1.0)

    confidence = g.op("Sigmoid", objectness)
    if iou_logit is not None:
        confidence = confidence ** (1.0 - factor) * g.op("Sigmoid", iou_logit) ** float(factor)
    too_low = confidence < float(decoder.conf_thresh)
    boxes = g.where(too_low, 0.0, g.concat([left, top, right, bottom], axis=2))
    scores = g.where(too_low, 0.0, confidence * g.op("Sigmoid", class_logits))
    return (
        boxes.transpose(0, 1, 3, 2).reshape(0, -1, 4),
        scores.transpose(0, 2, 1, 3).reshape(0, classes, -1),
    )


def cell_box(
    g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]
) -> tuple[Value, Value]:
    """`modeling.post_process.box_decoders.CellBox`."""
    classes = detector.head.num_classes
    boxes, scores = [], []
    for output, level in zip(raw, detector.head.levels):
        rows, columns = output.size(2), output.size(3)
        cell = g.range(rows * columns)
        cells = g.op("Concat", *(x.unsqueeze(0) for x in (cell % columns, cell / columns)), axis=0)
        center, size, objectness, class_logits = output.reshape(0, 5 + classes, -1).split(
            2, 2, 1, classes, axis=1
        )
        center = (center + cells.cast("float32")) * float(level.stride)
        half = g.op("Exp", size) * (level.stride / 2)
        boxes.append(g.concat([center - half, center + half], axis=1))
        scores.append(g.op("Sqrt", g.op("Sigmoid", objectness) * g.op("Sigmoid", class_logits)))
    scale_y, scale_x = inputs["scale_factor"].unsqueeze(1).split(1, 1, axis=2)
    corners = g.concat(boxes, axis=2).transpose(0, 2, 1)  # [B, A, 4]
    boxes = corners / g.concat([scale_x, scale_y] * 2, axis=2)
    return boxes, g.concat(scores, axis=2)
