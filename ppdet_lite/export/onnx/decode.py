"""Decoding of raw head outputs in standard ONNX operators.

`yolo_box`, `scaled_yolo_box`, `guided_yolo_box`, `gaussian_yolo_box` and `cell_box` compute what
`detector.decode` does, from the head's raw outputs and the inputs of the graph by name:
boxes_xyxy_px [B, M, 4] of the original images, scores [B, C, M].
"""

from typing import Any, Callable, NamedTuple, Sequence

from ppdet_lite.export.onnx.graph import OnnxGraph, Value
from ppdet_lite.modeling.geometry.gaussian_layout import VALUES

Boxes = tuple[Value, Value]


class Images(NamedTuple):
    """Width and height of the original images, and their pixels per pixel of the input, of which
    padding is a part: [B, 1, 2, 1]."""

    wh: Value
    pixel_wh: Value


def yolo_box(g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]) -> Boxes:
    """`modeling.post_process.box_decoders.YOLOBox`."""
    return _join_levels(g, detector, raw, inputs, _yolo_level)


def scaled_yolo_box(
    g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]
) -> Boxes:
    """`modeling.post_process.scaled_yolo_box.ScaledYOLOBox`."""
    return _join_levels(g, detector, raw, inputs, _scaled_level)


def guided_yolo_box(
    g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]
) -> Boxes:
    """`modeling.post_process.guided_yolo_box.GuidedYOLOBox`."""
    return _join_levels(g, detector, raw, inputs, _guided_level)


def gaussian_yolo_box(
    g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]
) -> Boxes:
    """`modeling.post_process.gaussian_yolo_box.GaussianYOLOBox`."""
    return _join_levels(g, detector, raw, inputs, _gaussian_level)


def _join_levels(
    g: OnnxGraph,
    detector: Any,
    raw: Sequence[Value],
    inputs: dict[str, Value],
    decode_level: Callable[..., Boxes],
) -> Boxes:
    image_hw = g.op("Floor", inputs["im_shape"] / inputs["scale_factor"] + 0.5)
    pairs = (image_hw, image_hw / inputs["im_shape"])
    images = Images(*(pair.gather([1, 0], axis=1).reshape(-1, 1, 2, 1) for pair in pairs))
    decoder = detector.post_process.decode
    found = [
        decode_level(g, output, level, decoder, images)
        for output, level in zip(raw, detector.head.levels)
    ]
    boxes, scores = zip(*found)
    return g.concat(boxes, axis=1), g.concat(scores, axis=2)


def _yolo_level(g: OnnxGraph, output: Value, level: Any, decoder: Any, images: Images) -> Boxes:
    """One level: boxes [B, A H W, 4], scores [B, C, A H W]; everything inside is [B, A, ?, HW]."""
    anchors, classes, factor = len(level.anchors), decoder.num_classes, level.iou_aware_factor
    cells, grid_wh = cells_of_map(g, output)
    if factor is not None:
        iou_logit, output = output.split(anchors, anchors * (5 + classes), axis=1)
    output = output.reshape(0, anchors, 5 + classes, -1)
    xy, wh, objectness, class_logits = output.split(2, 2, 1, classes, axis=2)

    scale, shift = float(level.scale_x_y), -0.5 * (level.scale_x_y - 1)
    anchor_wh = g.constant(level.anchors).cast("float32").reshape(1, anchors, 2, 1)
    input_wh = grid_wh * float(level.stride)
    canvas_wh = g.op("Floor", input_wh * images.pixel_wh + 0.5)
    center = (cells + g.op("Sigmoid", xy) * scale + shift) * canvas_wh / grid_wh
    half = g.op("Exp", wh) * anchor_wh * canvas_wh / input_wh / 2.0
    low, high = center - half, center + half
    if decoder.clip_bbox:
        low, high = g.op("Max", low, 0.0), g.op("Min", high, images.wh - 1.0)

    confidence = g.op("Sigmoid", objectness)
    if factor is not None:
        iou = g.op("Sigmoid", iou_logit.reshape(0, anchors, 1, -1))
        confidence = confidence ** (1.0 - factor) * iou ** float(factor)
    corners = g.concat([low, high], axis=2)
    return _confident(g, corners, confidence, g.op("Sigmoid", class_logits), decoder)


def _guided_level(g: OnnxGraph, output: Value, level: Any, decoder: Any, images: Images) -> Boxes:
    """As `_yolo_level`, of outputs that factors on the anchors precede."""
    anchors, channels = len(level.anchors), 5 + decoder.num_classes
    guide, output = output.split(2 * anchors, anchors * channels, axis=1)
    grid_hw = output.size(2), output.size(3)
    xy, wh, rest = output.reshape(0, anchors, channels, -1).split(2, 2, channels - 4, axis=2)
    joined = g.concat([xy, wh + guide.reshape(0, anchors, 2, -1), rest], axis=2)
    output = joined.reshape(0, anchors * channels, *grid_hw)
    return _yolo_level(g, output, level, decoder, images)


def _gaussian_level(g: OnnxGraph, output: Value, level: Any, decoder: Any, images: Images) -> Boxes:
    """As `_yolo_level`, of outputs with a deviation behind every coordinate."""
    anchors, classes = len(level.anchors), decoder.num_classes
    grid_hw = output.size(2), output.size(3)
    parts = output.reshape(0, anchors, VALUES + 1 + classes, -1)
    *box, rest = parts.split(*[1] * VALUES, 1 + classes, axis=2)
    plain = g.concat([*box[::2], rest], axis=2).reshape(0, anchors * (5 + classes), *grid_hw)
    boxes, scores = _yolo_level(g, plain, level, decoder, images)
    x, y, width, height = (g.op("Sigmoid", logits) for logits in box[1::2])
    certainty = ((x + y + width + height) / 4.0 - 1.0) * -1.0
    return boxes, scores * certainty.reshape(0, 1, -1)


def _scaled_level(g: OnnxGraph, output: Value, level: Any, decoder: Any, images: Images) -> Boxes:
    """As `_yolo_level`, of outputs that are sigmoids."""
    anchors, classes = len(level.anchors), decoder.num_classes
    cells, _ = cells_of_map(g, output)
    output = output.reshape(0, anchors, 5 + classes, -1)
    xy, wh, confidence, probabilities = output.split(2, 2, 1, classes, axis=2)
    scale, shift = float(level.scale_x_y), -0.5 * (level.scale_x_y - 1)
    anchor_wh = g.constant(level.anchors).cast("float32").reshape(1, anchors, 2, 1)
    center = (cells + xy * scale + shift) * float(level.stride) * images.pixel_wh
    half = wh * wh * 4.0 * anchor_wh * images.pixel_wh / 2.0
    low, high = center - half, center + half
    if decoder.clip_bbox:
        low, high = g.op("Max", low, 0.0), g.op("Min", high, images.wh)
    return _confident(g, g.concat([low, high], axis=2), confidence, probabilities, decoder)


def _confident(
    g: OnnxGraph, corners: Value, confidence: Value, classes: Value, decoder: Any
) -> Boxes:
    """Boxes [B, A HW, 4] and scores [B, C, A HW] of [B, A, ?, HW], zeros below the threshold."""
    too_low = confidence < float(decoder.conf_thresh)
    boxes = g.where(too_low, 0.0, corners)
    scores = g.where(too_low, 0.0, confidence * classes)
    return (
        boxes.transpose(0, 1, 3, 2).reshape(0, -1, 4),
        scores.transpose(0, 2, 1, 3).reshape(0, decoder.num_classes, -1),
    )


def cells_of_map(g: OnnxGraph, output: Value) -> tuple[Value, Value]:
    """Column and row of every cell of a map [2, HW], and the number of both [2, 1], float32."""
    rows, columns = output.size(2), output.size(3)
    cell = g.range(rows * columns).unsqueeze(0)
    cells = g.concat([cell % columns, cell / columns], axis=0)
    return cells.cast("float32"), g.concat([columns, rows], axis=0).cast("float32").unsqueeze(1)


def cell_box(g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]) -> Boxes:
    """`modeling.post_process.box_decoders.CellBox`."""
    boxes, products = product_cell_box(g, detector, raw, inputs)
    return boxes, g.op("Sqrt", products)


def product_cell_box(
    g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]
) -> Boxes:
    """`modeling.post_process.product_cell_box.ProductCellBox`."""
    classes, boxes, scores = detector.head.num_classes, [], []
    for output, level in zip(raw, detector.head.levels):
        flat = output.reshape(0, 5 + classes, -1)
        center, size, objectness, class_logits = flat.split(2, 2, 1, classes, axis=1)
        center = (center + cells_of_map(g, output)[0]) * float(level.stride)
        half = g.op("Exp", size) * (level.stride / 2)
        boxes.append(g.concat([center - half, center + half], axis=1))
        scores.append(g.op("Sigmoid", objectness) * g.op("Sigmoid", class_logits))
    scale_xyxy = inputs["scale_factor"].gather([1, 0, 1, 0], axis=1).unsqueeze(1)
    return g.concat(boxes, axis=2).transpose(0, 2, 1) / scale_xyxy, g.concat(scores, axis=2)
