"""The graph of an export: a detector up to a stage, its inputs, and Paddle's trace of it."""

import warnings
from pathlib import Path

import paddle
from paddle import nn
from paddle.static import InputSpec

from ppdet_lite.export.options import ExportOptions
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.ops.nms import fixed_rows
from ppdet_lite.runtime.contract import FINAL_STAGES, MODEL_NAME

PADDLE_2 = paddle.__version__.startswith("2.")


class DetectorUpTo(nn.Layer):
    """A detector up to a stage, with positional outputs, as an inference graph has them.

    With `is_translated` Paddle translates the Python code when it traces the layer: that takes most
    of the time, and decisions and loops that depend on tensors need it.
    """

    def __init__(self, detector: nn.Layer, stage: str = "nms", is_translated: bool = True):
        super().__init__()
        self.detector = detector
        self.stage = stage
        self.is_translated = is_translated

    def forward(self, inputs):
        """`graph_inputs` by name -> the tensors of the stage; see `STAGES`."""
        return self.compute(inputs) if self.is_translated else self.compute_as_written(inputs)

    @paddle.jit.not_to_static
    def compute_as_written(self, inputs):
        return self.compute(inputs)

    def compute(self, inputs):
        if self.stage in FINAL_STAGES:
            outputs = self.detector(inputs)
            bbox, bbox_num = outputs["bbox"], outputs["bbox_num"]
            if self.stage == "nms_fixed":
                bbox = fixed_rows(
                    bbox, bbox_num, self.detector.post_process.nms.arguments["keep_top_k"]
                )
            return bbox, bbox_num
        raw = self.detector.raw_outputs(inputs["image"])
        if self.stage == "raw":
            return raw
        return self.detector.decode(raw, inputs.get("im_shape"), inputs.get("scale_factor"))


def graph_inputs(detector: nn.Layer, options: ExportOptions) -> dict[str, list]:
    """Shapes of the graph's inputs by name, None where a size is free. Only what the stage computes
    with: Paddle cannot save a graph with an input that nothing depends on."""
    image = [3, *(options.input_hw or (None, None))]
    names = ("image",) if options.stage == "raw" else detector.inference_inputs
    return {name: [options.fixed_batch, *(image if name == "image" else [2])] for name in names}


def save_paddle_graph(detector: nn.Layer, folder: Path, options: ExportOptions) -> None:
    """Writes model.json (from Paddle 2 model.pdmodel) and model.pdiparams."""
    layers = detector.sublayers(include_self=True)
    is_own = all(type(layer).__module__.startswith(("ppdet_lite.", "paddle.")) for layer in layers)
    # Our own code needs no translation, but for sizes that are open: it reads them from shapes.
    is_translated = PADDLE_2 or not is_own or options.input_hw is None
    layer = DetectorUpTo(detector, options.stage, is_translated)
    save_graph(layer, folder, graph_inputs(detector, options))


def save_graph(layer: nn.Layer, folder: Path, shapes: dict[str, list]) -> None:
    """The same for a layer that takes a dict of inputs, of these shapes."""
    spec = [{name: InputSpec(shape, "float32", name) for name, shape in shapes.items()}]
    with evaluation_mode(layer), warnings.catch_warnings():
        # Paddle's own NMS function asks a graph tensor for its device and is told there is none.
        warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")
        static = paddle.jit.to_static(layer, input_spec=spec, full_graph=True)
        paddle.jit.save(static, str(folder / MODEL_NAME), input_spec=spec)
