"""Other detectors in the benchmark: any .onnx file, its inputs filled by name and shape."""

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any, Iterable, NamedTuple, Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import ConfigError, DataError, UserError, require
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.runtime.contract import InferConfig, ModelFolder
from ppdet_lite.runtime.engines.engine import Arrays, EngineError

FLOAT32, FLOAT16 = 1, 10
"""ONNX's numbers of these types."""

MARKER_SIZE = 2
"""Values per image in inputs such as `im_shape` and `scale_factor`: height and width."""


class GraphInput(NamedTuple):
    """An input of a graph.

    Attributes:
        shape: None for an axis whose length is open.
        dtype: numpy's name of it.
    """

    name: str
    shape: tuple[Optional[int], ...]
    dtype: str

    def __str__(self) -> str:
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return f"{self.name} [{sides}] {self.dtype}"


class OtherModel(ModelFolder):
    """An .onnx file of another detector, in the place of an exported folder.

    Args:
        inputs, precision: of the graph; None to read them from the file.

    Attributes:
        precision: of its numbers, "fp32", "fp16" or "int8". Engines compute in it, whatever they
            are asked for.

    Raises:
        DataError: the file is missing or is no ONNX graph.
    """

    def __init__(
        self,
        path: Path,
        inputs: Optional[Sequence[GraphInput]] = None,
        precision: Optional[str] = None,
    ):
        self.path, self.graph, self.params = path.parent, path, None
        self.config = InferConfig(preprocess=[], class_names=[], stage="raw")
        self.preprocess = Preprocess([])
        self.inputs = list(inputs) if inputs else read_inputs(path)
        self.precision = precision or _precision(read_graph(path))


def _precision(graph: Any) -> str:
    """The precision of most weights; INT8 if any are rounded."""
    if any(node.op_type in ("QuantizeLinear", "QLinearConv", "ConvInteger") for node in graph.node):
        return "int8"
    sizes: Counter[int] = Counter()
    for tensor in graph.initializer:
        sizes[tensor.data_type] += int(np.prod(tensor.dims))
    return "fp16" if sizes[FLOAT16] > sizes[FLOAT32] else "fp32"


def read_graph(path: Path) -> Any:
    """The graph of an .onnx file, without weights that lie in other files.

    Raises:
        DataError: the file is missing or is no ONNX graph.
    """
    if not path.is_file():
        raise DataError(f"`against` {path}: no such file")
    onnx = require("onnx", "`against`")
    try:
        return onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # of protobuf, which has several implementations
        raise DataError(f"`against` {path}: found no ONNX graph ({error})") from error


def read_inputs(path: Path) -> list[GraphInput]:
    """The inputs of an .onnx file that have to be fed.

    Raises:
        DataError: the file is missing or is no ONNX graph.
    """
    onnx, graph = require("onnx", "`against`"), read_graph(path)
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [_graph_input(onnx, entry) for entry in graph.input if entry.name not in constants]
    if not inputs:
        raise DataError(f"`against` {path}: found a graph without inputs")
    return inputs


def _graph_input(onnx: Any, entry: Any) -> GraphInput:
    kind = entry.type.tensor_type
    shape = tuple(axis.dim_value if axis.dim_value > 0 else None for axis in kind.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return GraphInput(entry.name, shape, np.dtype(dtype).name)


def fill_inputs(inputs: Sequence[GraphInput], input_hw: tuple[int, int], batch: int = 1) -> Arrays:
    """Arrays for the inputs of a detector.

    The images are noise, as normalized pixels (or bytes) are; the time of a network does not depend
    on them. Inputs of one pair per image are scales (1) or sizes, inputs of one plane are masks
    (all of the image counts).

    Args:
        input_hw: height and width where the graph leaves them open.
        batch: images where the graph leaves their number open.

    Raises:
        UserError: an input that is none of these, or another number of images.
    """
    images = [entry for entry in inputs if len(entry.shape) == 4]
    if len(images) != 1:
        listed = ", ".join(map(str, inputs))
        raise UserError(f"found the inputs {listed}, allowed: one of them with four axes (images)")
    image_shape, (height, width) = _image_shape(images[0], input_hw, batch)
    if image_shape[0] != batch:
        raise UserError(f"input {images[0]}: takes {image_shape[0]} images, not {batch}")
    rng, filled = np.random.default_rng(0), {}
    for entry in inputs:
        if entry is images[0]:
            array = _noise(rng, image_shape, entry.dtype)
        elif len(entry.shape) == 2 and entry.shape[1] in (MARKER_SIZE, None):
            is_scale = "scale" in entry.name.lower()
            array = np.array([[1, 1] if is_scale else [height, width]] * batch, entry.dtype)
        elif len(entry.shape) == 3:
            array = np.ones((batch, height, width), entry.dtype)
        else:
            raise UserError(
                f"input {entry}: allowed: images, sizes or scales [N, 2], masks [N, H, W]"
            )
        filled[entry.name] = array
    return filled


def _image_shape(
    entry: GraphInput, input_hw: tuple[int, int], batch: int
) -> tuple[tuple[int, ...], tuple[int, int]]:
    """The shape of the images with all axes closed, and their height and width."""
    count, *axes = entry.shape
    is_last = axes[2] in (1, 3) and axes[0] not in (1, 3)  # channels
    sides = axes[:2] if is_last else axes[1:]
    height, width = (side or default for side, default in zip(sides, input_hw))
    channels = (axes[2] if is_last else axes[0]) or 3
    shape = (height, width, channels) if is_last else (channels, height, width)
    return (count or batch, *shape), (height, width)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if np.issubdtype(np.dtype(dtype), np.integer):
        return rng.integers(0, 256, shape).astype(dtype)
    return rng.standard_normal(shape, np.float32).astype(dtype)


def set_sizes(entries: Iterable[Any], shapes: Iterable[Sequence[int]]) -> None:
    """Closes the axes of a graph's inputs or outputs."""
    for entry, shape in zip(entries, shapes):
        for axis, side in zip(entry.type.tensor_type.shape.dim, shape):
            axis.Clear()
            axis.dim_value = int(side)


def closed_copy(model: OtherModel, inputs: Arrays, path: Path) -> OtherModel:
    """A detector with the sizes of `inputs` closed, which TensorRT and CUDA graphs need, written to
    `path` in one file. Its outputs are closed, too, where ONNX Runtime can run it on the CPU.

    Args:
        inputs: arrays of all inputs, see `fill_inputs`.

    Raises:
        DataError: the file cannot be loaded.
    """
    from ppdet_lite.export.onnx.cpu_session import CpuSession  # it needs onnx and onnxruntime

    onnx = require("onnx", "`against`")
    try:
        content = onnx.load(str(model.graph))
    except Exception as error:  # of protobuf, or weights in another file that is missing
        raise DataError(f"`against` {model.graph}: cannot be loaded ({error})") from error
    graph = content.graph
    fed = [entry for entry in graph.input if entry.name in inputs]
    set_sizes(fed, [inputs[entry.name].shape for entry in fed])
    del graph.value_info[:]
    with contextlib.suppress(EngineError):  # an operator for GPUs only
        set_sizes(graph.output, [array.shape for array in CpuSession(content, path).run(inputs)])
    onnx.save(content, str(path))
    return OtherModel(path, precision=model.precision)


def other_models(against: Sequence[str]) -> dict[str, OtherModel]:
    """The files of `against` by their names without the ending.

    Raises:
        DataError: a file is missing or is no ONNX graph.
        ConfigError: two files of one name.
    """
    models: dict[str, OtherModel] = {}
    for path in map(Path, against):
        if path.stem in models:
            raise ConfigError(
                f"`against` {path}: found the name {path.stem} twice, allowed: a name for each, "
                "for it labels the rows"
            )
        models[path.stem] = OtherModel(path)
    return models
