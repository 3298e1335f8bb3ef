"""Takes the large weights out of ONNX graphs and leaves the recipe to draw them again."""

import base64
import zlib
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

import numpy as np

from ppdet_lite.benchmark.gpu_check.networks.drawn_weights import (
    LAYOUTS,
    RECIPE_SUFFIX,
    WEIGHTS_SUFFIX,
    as_int8,
    drawn,
)
from ppdet_lite.core.errors import DataError, require
from ppdet_lite.runtime.contract import CONFIG_FILE, InferConfig
from ppdet_lite.utils.files import write_json

SMALLEST = 1024
"""Arrays with fewer values stay in the graph."""

LARGEST_REST = 1 << 20
"""Bytes of a compressed skeleton: what is larger was not recognized, and would travel in vain."""

ALIGNMENT = 4096
CLOSE = {"float32": 1e-5, "float16": 2e-3, "int8": 1 / 127}
"""Largest difference of a weight from the drawn one, in shares of the largest of all; a number of
eight bits may be rounded the other way."""


class Skeletons:
    """Makes skeletons of graphs whose convolutions were drawn by `drawn_weights.drawn`.

    Args:
        weights: name and shape of the drawn parameters.
    """

    def __init__(self, weights: dict[str, Sequence[int]]):
        self._by_size: dict[int, list[tuple[str, np.ndarray]]] = {}
        for name, shape in weights.items():
            array = drawn(name, tuple(shape))
            self._by_size.setdefault(array.size, []).append((name, array))
        self._scales: dict[str, np.ndarray] = {}  # from float32, for graphs in float16

    def strip_all(self, folder: Path) -> None:
        """`strip` for all graphs of an exported folder, whose infer_cfg.yml tells of the new files.

        Raises:
            DataError: too much was not recognized.
        """
        for graph in sorted(folder.glob("*.onnx")):
            self.strip(graph)
        config = folder / CONFIG_FILE
        InferConfig.read(config).with_files(folder).write(config)

    def strip(self, path: Path) -> None:
        """Takes the weights out of an .onnx file, in place.

        Raises:
            DataError: too much was not recognized.
        """
        onnx = require("onnx", "a set of networks without weights")
        model = onnx.load(str(path))
        recipe: list[dict[str, Any]] = []
        end = 0
        for tensor in _tensors(model.graph):
            array = onnx.numpy_helper.to_array(tensor)
            part = self._recognized(array) if array.size >= SMALLEST else None
            if part is not None:
                recipe.append({**part, "dtype": array.dtype.name, "offset": end})
                _point_to(onnx, tensor, path.name + WEIGHTS_SUFFIX, end, array.nbytes)
                end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        content = model.SerializeToString()
        rest = len(zlib.compress(content, 1))
        if rest > LARGEST_REST:
            raise DataError(f"{path}: {rest} compressed bytes are left without the drawn weights")
        path.write_bytes(content)
        write_json(path.with_name(path.name + RECIPE_SUFFIX), recipe)

    def _recognized(self, array: np.ndarray) -> Optional[dict[str, Any]]:
        """The drawn parameter that an array is, but for a scale per output."""
        close = CLOSE.get(array.dtype.name)
        if close is None:
            return None
        for name, base in self._by_size.get(array.size, ()):
            for layout, order in LAYOUTS.items():
                if base.ndim != 4 and layout != "as drawn":
                    continue
                candidate = np.asarray(order(base), np.float32)
                # the numbers of the outputs, in this order: to sum up each output on its own
                owners = np.broadcast_to(
                    np.arange(len(base)).reshape(-1, *[1] * (base.ndim - 1)), base.shape
                )
                if not _same_direction(array.reshape(-1), candidate.reshape(-1)):
                    continue
                scale = _scales(array, candidate, order(owners), len(base))
                if array.dtype == np.int8:  # see `as_int8`: its steps follow from the numbers
                    scale, candidate = np.sign(scale), np.asarray(order(as_int8(base)), np.float32)
                elif array.dtype == np.float32:
                    self._scales[name] = scale
                elif name in self._scales:
                    scale = self._scales[name]
                fitted = candidate.reshape(-1) * scale[order(owners).reshape(-1)]
                gap = np.abs(array.reshape(-1).astype(np.float32) - fitted)
                if gap.max() <= close * max(np.abs(array).max(), 1e-12):
                    packed = base64.b64encode(_shortened(scale).tobytes()).decode()
                    shape = list(base.shape)
                    return {"draw": name, "shape": shape, "layout": layout, "scale": packed}
        return None


def _same_direction(first: np.ndarray, second: np.ndarray, count: int = 64) -> bool:
    """True if the signs of the first values agree, or are all opposite."""
    agree = np.sign(first[:count]) == np.sign(second[:count])
    return bool(agree.mean() > 0.9 or agree.mean() < 0.1) or bool(first[:count].std() == 0)


def _scales(
    array: np.ndarray, candidate: np.ndarray, owners: np.ndarray, outputs: int
) -> np.ndarray:
    """The factor between drawn numbers and weights, by output; the least squares."""
    flat, base, owner = array.reshape(-1), candidate.reshape(-1), owners.reshape(-1)
    products = np.bincount(owner, flat.astype(np.float64) * base, outputs)
    squares = np.bincount(owner, base.astype(np.float64) ** 2, outputs)
    return (products / squares).astype(np.float32)


def _shortened(scale: np.ndarray) -> np.ndarray:
    """A single scale, where all outputs have the same but for rounding."""
    middle = np.median(scale)
    is_one = np.allclose(scale, middle, rtol=1e-6, atol=0)
    return np.array([middle], np.float32) if is_one else scale


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        if node.op_type == "Constant":
            yield from (entry.t for entry in node.attribute if entry.name == "value")


def _point_to(onnx: Any, tensor: Any, file: str, offset: int, length: int) -> None:
    """Makes a tensor one whose values lie in another file."""
    for field in ("raw_data", "float_data", "int32_data"):
        tensor.ClearField(field)
    del tensor.external_data[:]
    for key, value in (("location", file), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    tensor.data_location = onnx.TensorProto.EXTERNAL
