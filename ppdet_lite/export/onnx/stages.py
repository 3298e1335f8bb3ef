"""What follows the network in an exported .onnx: nothing, decoding, or decoding and NMS."""

from typing import Sequence

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.export.onnx.decode import decode
from ppdet_lite.export.onnx.graph import OnnxGraph, Value
from ppdet_lite.export.onnx.nms import matrix_nms, multiclass_nms
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.modeling.post_process.nms_layers import MatrixNMS, MultiClassNMS

NMS_FORMS = {MatrixNMS: matrix_nms, MultiClassNMS: multiclass_nms}


def append_stage(
    g: OnnxGraph,
    detector,
    raw: Sequence[Value],
    channels: Sequence[int],
    inputs: dict[str, Value],
    options: ExportOptions,
) -> None:
    """Appends the rest of the stage and declares its outputs.

    They are `raw_0` ... in the head's order, or `boxes` and `scores`, or `bbox` and `bbox_num`.

    Args:
        raw: the head's raw outputs per level.
        channels: of those.
        inputs: of the graph, by name.

    Raises:
        ConfigError: a decoder or NMS that has no ONNX form.
    """
    batch = "batch" if options.batch is None else options.batch
    if options.stage == "raw":
        for i, (value, depth) in enumerate(zip(raw, channels)):
            shape = [batch, depth, f"height_{i}", f"width_{i}"]
            g.output(f"raw_{i}", value, "float32", shape)
        return
    boxes, scores, classes = decode(
        g, detector, raw, inputs.get("im_shape"), inputs["scale_factor"]
    )
    if options.stage == "decoded":
        g.output("boxes", boxes, "float32", [batch, "boxes", 4])
        g.output("scores", scores, "float32", [batch, classes, "boxes"])
        return
    nms = detector.post_process.nms
    if type(nms) not in NMS_FORMS:
        raise ConfigError(
            f"nms: {type(nms).__name__} has no ONNX form, allowed: "
            f"{', '.join(kind.__name__ for kind in NMS_FORMS)}; --stage decoded exports what comes "
            "before it"
        )
    bbox, bbox_num = NMS_FORMS[type(nms)](g, boxes, scores, classes, nms.arguments)
    g.output("bbox", bbox, "float32", ["detections", 6])
    g.output("bbox_num", bbox_num, "int32", [batch])
