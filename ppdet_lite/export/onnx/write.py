"""Writes a detector as .onnx: the converted network, then decoding and NMS as ONNX operators."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import onnx
from paddle import nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.export.graph import graph_inputs, save_paddle_graph
from ppdet_lite.export.onnx.best_class_nms import best_class_nms, fixed_best_class_nms
from ppdet_lite.export.onnx.decode import (
    cell_box,
    gaussian_yolo_box,
    guided_yolo_box,
    product_cell_box,
    scaled_yolo_box,
    yolo_box,
)
from ppdet_lite.export.onnx.decode_anchors import (
    anchor_cell_box,
    single_anchor_box,
    single_cell_box,
)
from ppdet_lite.export.onnx.deform_conv import has_deform_conv, without_deform_conv
from ppdet_lite.export.onnx.diou_nms import diou_nms, fixed_diou_nms
from ppdet_lite.export.onnx.fixed_nms import fixed_matrix_nms, fixed_multiclass_nms
from ppdet_lite.export.onnx.graph import OnnxGraph
from ppdet_lite.export.onnx.network import convert_network, tidy
from ppdet_lite.export.onnx.nms import Decoded, matrix_nms, multiclass_nms
from ppdet_lite.export.onnx.top_scores import fixed_top_scores, top_scores
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.modeling.post_process.anchor_cell_box import AnchorCellBox
from ppdet_lite.modeling.post_process.best_class_nms import BestClassNMS
from ppdet_lite.modeling.post_process.box_decoders import CellBox, YOLOBox
from ppdet_lite.modeling.post_process.diou_nms_layer import DIoUNMS
from ppdet_lite.modeling.post_process.end_to_end_boxes import SingleAnchorBox, SingleCellBox
from ppdet_lite.modeling.post_process.gaussian_yolo_box import GaussianYOLOBox
from ppdet_lite.modeling.post_process.guided_yolo_box import GuidedYOLOBox
from ppdet_lite.modeling.post_process.nms_layers import MatrixNMS, MultiClassNMS
from ppdet_lite.modeling.post_process.product_cell_box import ProductCellBox
from ppdet_lite.modeling.post_process.scaled_yolo_box import ScaledYOLOBox
from ppdet_lite.modeling.post_process.top_scores import TopScores
from ppdet_lite.runtime.contract import GRAPH_FILE, ONNX_FILE, PARAMS_FILE, PORTABLE_FILE

DECODERS: dict[type, Callable] = {
    YOLOBox: yolo_box,
    ScaledYOLOBox: scaled_yolo_box,
    GuidedYOLOBox: guided_yolo_box,
    GaussianYOLOBox: gaussian_yolo_box,
    CellBox: cell_box,
    ProductCellBox: product_cell_box,
    AnchorCellBox: anchor_cell_box,
    SingleCellBox: single_cell_box,
    SingleAnchorBox: single_anchor_box,
}
NMS: dict[type, Callable] = {
    MatrixNMS: matrix_nms,
    MultiClassNMS: multiclass_nms,
    BestClassNMS: best_class_nms,
    TopScores: top_scores,
    DIoUNMS: diou_nms,
}
FIXED_NMS: dict[type, Callable] = {
    MatrixNMS: fixed_matrix_nms,
    MultiClassNMS: fixed_multiclass_nms,
    BestClassNMS: fixed_best_class_nms,
    TopScores: fixed_top_scores,
    DIoUNMS: fixed_diou_nms,
}
"""The ONNX form of each decoder and NMS; a subclass has that of its base class."""

FREE_SIZES = {
    "image": ("batch", "channels", "height", "width"),
    "im_shape": ("batch", "sides"),
    "scale_factor": ("batch", "sides"),
}
"""Names for sizes that are not fixed."""


def write_onnx(network: nn.Layer, folder: Path, options: ExportOptions) -> None:
    """Writes model.onnx, and model_portable.onnx if asked for and there is something to replace; a
    UserError or ConfigError for a network, decoder or NMS that has no ONNX form."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:  # where there is room
        traced = Path(temporary)
        save_paddle_graph(network, traced, replace(options, stage="raw"))
        converted = convert_network(traced / GRAPH_FILE, traced / PARAMS_FILE)
    name_layers(converted, network)
    if options.portable_dcn and has_deform_conv(converted):
        portable = without_deform_conv(converted)
        complete(portable, network, options).save(folder / PORTABLE_FILE)
    complete(converted, network, options).save(folder / ONNX_FILE)


def name_layers(model: onnx.ModelProto, network: nn.Layer) -> None:
    """Names each node with weights by its layer in the network, for people who look into the file
    and for messages about layers."""
    layers = {
        parameter.name: name
        for name, layer in network.named_sublayers()
        for parameter in layer.parameters(include_sublayers=False)
    }
    named = set()
    for node in model.graph.node:
        layer = next((layers[name] for name in node.input if name in layers), "")
        if layer and layer not in named:  # one that runs several times names its first node
            node.name = layer
            named.add(layer)


def complete(model: onnx.ModelProto, detector: nn.Layer, options: ExportOptions) -> OnnxGraph:
    """Puts the rest of the stage behind a converted network, in place; names inputs and outputs.

    The outputs are `raw_0` ... in the head's order, or `boxes` and `scores`, or `bbox` and
    `bbox_num`.
    """
    raw_infos = list(model.graph.output)
    del model.graph.input[:], model.graph.output[:]
    g = OnnxGraph(model)
    inputs = {}
    for name, shape in graph_inputs(detector, options).items():
        sizes = [word if n is None else n for n, word in zip(shape, FREE_SIZES[name])]
        inputs[name] = g.input(name, "float32", sizes)
    raw = [g.value(info.name) for info in raw_infos]
    batch, classes = options.fixed_batch or "batch", detector.head.num_classes
    if options.stage == "raw":
        for i, (value, info) in enumerate(zip(raw, raw_infos)):
            channels = info.type.tensor_type.shape.dim[1].dim_value
            g.output(f"raw_{i}", value, "float32", [batch, channels, f"height_{i}", f"width_{i}"])
    else:
        decode = form_of(detector.post_process.decode, "decode", DECODERS, "raw")
        boxes, scores = decode(g, detector, raw, inputs)
        if options.stage == "decoded":
            g.output("boxes", boxes, "float32", [batch, "boxes", 4])
            g.output("scores", scores, "float32", [batch, classes, "boxes"])
        else:
            nms, is_fixed = detector.post_process.nms, options.stage == "nms_fixed"
            suppress = form_of(nms, "nms", FIXED_NMS if is_fixed else NMS, "decoded")
            bbox, bbox_num = suppress(Decoded(g, boxes, scores, classes, nms.arguments))
            rows = [batch, nms.arguments["keep_top_k"]] if is_fixed else ["detections"]
            g.output("bbox", bbox, "float32", [*rows, 6])
            g.output("bbox_num", bbox_num, "int32", [batch])
    tidy(model)
    return g


def form_of(layer: Any, key: str, forms: dict[type, Callable], stage: str) -> Callable:
    """The ONNX form of a layer; `stage` is the one that does without."""
    for kind in type(layer).__mro__:
        if kind in forms:
            return forms[kind]
    raise ConfigError(
        f"post_process.{key}: {type(layer).__name__} has no ONNX form, allowed: "
        f"{', '.join(kind.__name__ for kind in forms)}; use `stage` {stage}, which ends before it"
    )
