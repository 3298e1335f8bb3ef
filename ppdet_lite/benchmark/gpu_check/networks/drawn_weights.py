"""Weights that follow from names: drawn where they are needed, so that they need not travel.

A graph whose large weights were taken out (`skeleton`) names a file beside it that holds them, as
ONNX's external data. `write_weights` makes that file from a recipe, with numpy alone.
"""

import base64
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

RECIPE_SUFFIX, WEIGHTS_SUFFIX = ".recipe.json", ".weights"
"""Of the files beside NAME.onnx: the recipe, and the weights made from it."""

LAYOUTS = {
    "as drawn": lambda array: array,
    "kernel before channels": lambda array: array.transpose(0, 2, 3, 1),
    "inputs first": lambda array: array.reshape(len(array), -1).T,
    "kernel first": lambda array: array.transpose(2, 3, 1, 0),
}
"""The orders of the axes (outputs, inputs, height, width) in which graphs hold a convolution."""


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Normal float32 numbers of mean 0 and deviation 1, always the same ones for a name."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)


def scaled(name: str, shape: tuple[int, ...], scale: np.ndarray) -> np.ndarray:
    """Drawn weights (outputs, ...), each output times its scale, or all times one."""
    return drawn(name, shape) * scale.reshape(-1, *[1] * (len(shape) - 1))


def as_int8(values: np.ndarray) -> np.ndarray:
    """INT8 numbers of drawn weights (outputs, ...): the largest of each output becomes 127."""
    largest = np.maximum(np.abs(values.reshape(len(values), -1)).max(axis=1), 1e-30)
    return np.rint(values * (127 / largest).reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)


def write_weights(graph: Path) -> None:
    """Makes the file of weights of NAME.onnx from its recipe; does nothing where there is none."""
    recipe_path = graph.with_name(graph.name + RECIPE_SUFFIX)
    target = graph.with_name(graph.name + WEIGHTS_SUFFIX)
    if target.is_file() or not recipe_path.is_file():
        return
    parts = json.loads(recipe_path.read_text(encoding="utf-8"))
    partial = target.with_name(target.name + ".part")
    with open(partial, "wb") as stream:
        for part in parts:
            stream.seek(part["offset"])
            stream.write(_part(part).tobytes())
    partial.replace(target)


def write_all_weights(folder: Path, threads: int) -> int:
    """`write_weights` for every graph below a folder; returns how many there were."""
    graphs = sorted(folder.rglob("*.onnx"))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        list(pool.map(write_weights, graphs))
    return len(graphs)


def _part(part: dict[str, Any]) -> np.ndarray:
    scale = np.frombuffer(base64.b64decode(part["scale"]), np.float32)
    values = scaled(part["draw"], tuple(part["shape"]), scale)
    array = LAYOUTS[part["layout"]](as_int8(values) if part["dtype"] == "int8" else values)
    return np.ascontiguousarray(array.astype(part["dtype"]))
