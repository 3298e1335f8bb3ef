"""The graph of an export: a detector up to a stage, its inputs, and Paddle's trace of it."""

import warnings
from pathlib import Path

import paddle
from paddle import nn
from paddle.static import InputSpec

from ppdet_lite.export.options import ExportOptions
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.runtime.contract import MODEL_NAME

PADDLE_2 = paddle.__version__.startswith("2.")


class DetectorUpTo(nn.Layer):
    """A detector up to a stage, with positional outputs, as an inference graph has them."""

    def __init__(self, detector: nn.Layer, stage: str = "nms"):
        super().__init__()
        self.detector = detector
        self.stage = stage

    def forward(self, inputs):
        """`graph_inputs` by name -> the tensors of the stage; see `STAGES`."""
        if self.stage == "nms":
            outputs = self.detector(inputs)
            return outputs["bbox"], outputs["bbox_num"]
        raw = self.detector.raw_outputs(inputs["image"])
        if self.stage == "raw":
            return raw
        return self.detector.decode(raw, inputs.get("im_shape"), inputs.get("scale_factor"))


def graph_inputs(detector: nn.Layer, options: ExportOptions) -> dict[str, list]:
    """Shapes of the graph's inputs by name; None where a size is free.

    Only what the stage computes with: Paddle cannot save a graph with an input that nothing
    depends on.
    """
    shapes = {"image": [3, *(options.input_hw or (None, None))], "im_shape": [2]}
    shapes["scale_factor"] = [2]
    names = ("image",) if options.stage == "raw" else detector.inference_inputs
    return {name: [options.fixed_batch, *shapes[name]] for name in names}


def save_paddle_graph(detector: nn.Layer, folder: Path, options: ExportOptions) -> None:
    """Writes model.json (from Paddle 2 model.pdmodel) and model.pdiparams."""
    save_graph(DetectorUpTo(detector, options.stage), folder, graph_inputs(detector, options))


def save_graph(layer: nn.Layer, folder: Path, shapes: dict[str, list]) -> None:
    """The same for a layer that takes a dict of inputs, of these shapes."""
    spec = [{name: InputSpec(shape, "float32", name) for name, shape in shapes.items()}]
    with evaluation_mode(layer), warnings.catch_warnings():
        # Paddle's own NMS function asks a graph tensor for its device and is told there is none.
        warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")
        static = paddle.jit.to_static(layer, input_spec=spec, full_graph=True)
        paddle.jit.save(static, str(folder / MODEL_NAME), input_spec=spec)
