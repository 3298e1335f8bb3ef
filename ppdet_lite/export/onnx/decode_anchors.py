"""Decoding of YOLOX with anchors, and without NMS, in standard ONNX operators; see `decode`."""

from collections.abc import Sequence
from typing import Any, Callable

from ppdet_lite.export.onnx.decode import Boxes, cells_of_map, product_cell_box
from ppdet_lite.export.onnx.graph import OnnxGraph, Value
from ppdet_lite.modeling.post_process.end_to_end_boxes import anchors_of


def anchor_cell_box(
    g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]
) -> Boxes:
    """`modeling.post_process.anchor_cell_box.AnchorCellBox`."""
    classes, boxes, scores = detector.head.num_classes, [], []
    for output, level in zip(raw, detector.head.levels):
        anchors, factor = len(level.anchors), level.iou_aware_factor
        if factor is not None:
            iou_logit, output = output.split(anchors, anchors * (5 + classes), axis=1)
        cells = cells_of_map(g, output)[0]
        output = output.reshape(0, anchors, 5 + classes, -1)
        xy, wh, objectness, class_logits = output.split(2, 2, 1, classes, axis=2)
        anchor_wh = g.constant(level.anchors).cast("float32").reshape(1, anchors, 2, 1)
        center = (g.op("Sigmoid", xy) + cells) * float(level.stride)
        half = g.op("Exp", wh) * anchor_wh / 2.0
        confidence = g.op("Sigmoid", objectness)
        if factor is not None:
            iou = g.op("Sigmoid", iou_logit.reshape(0, anchors, 1, -1))
            confidence = confidence ** (1.0 - factor) * iou ** float(factor)
        corners = g.concat([center - half, center + half], axis=2)
        joint = confidence * g.op("Sigmoid", class_logits)
        boxes.append(corners.transpose(0, 1, 3, 2).reshape(0, -1, 4))
        scores.append(joint.transpose(0, 2, 1, 3).reshape(0, classes, -1))
    scale_xyxy = inputs["scale_factor"].gather([1, 0, 1, 0], axis=1).unsqueeze(1)
    return g.concat(boxes, axis=1) / scale_xyxy, g.concat(scores, axis=2)


def single_cell_box(
    g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]
) -> Boxes:
    """`modeling.post_process.end_to_end_boxes.SingleCellBox`."""
    return _with_singles(g, detector, raw, inputs, product_cell_box)


def single_anchor_box(
    g: OnnxGraph, detector: Any, raw: Sequence[Value], inputs: dict[str, Value]
) -> Boxes:
    """`modeling.post_process.end_to_end_boxes.SingleAnchorBox`."""
    return _with_singles(g, detector, raw, inputs, anchor_cell_box)


def _with_singles(
    g: OnnxGraph,
    detector: Any,
    raw: Sequence[Value],
    inputs: dict[str, Value],
    inner: Callable[..., Boxes],
) -> Boxes:
    singles, rest = [], []
    for output, level in zip(raw, detector.head.levels):
        anchors = anchors_of(level)
        singles.append(output.slice(0, anchors, 1).reshape(0, 1, -1))
        rest.append(output.slice(anchors, (1 << 31) - 1, 1))
    boxes, scores = inner(g, detector, rest, inputs)
    return boxes, scores * g.op("Sigmoid", g.concat(singles, axis=2))
