"""Raw outputs of an INT8 file beside those in float32.

Boxes cannot tell if an engine is right: two ways to add up the same products round a few values to
other numbers, and with every layer more, until the roundings of two engines have nothing in common
but their size. So the size is compared: the distance from float32, beside that of the same file in
ONNX Runtime on the CPU. (PP-YOLOv2 R50 with drawn weights, on the CPU with ONNX Runtime's
optimizations of the graph and without: 7.8 % off float32 each, 6.0 % off each other.)
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_lite.benchmark.gpu_check.cases import Setup
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.engine import Engine, stack_samples
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.options import EngineOptions

MOST_PHOTOS = 4
MOST_OF_CPU = 1.5
"""An engine's distance from float32 may be this many times that of the CPU."""


def write_raw_reference(folder: Path, setup: Setup, target: Path) -> float:
    """Writes the raw outputs of an export in float32, and the distance of its INT8 file from them,
    both on the CPU.

    Returns:
        The distance, in shares of the norm.
    """
    options = EngineOptions("onnxruntime", cpu_threads=setup.threads)
    outputs = {}
    for precision in ("fp32", "int8"):
        files = ModelFolder(folder, "tensorrt", precision=precision)
        engine = open_engine(files, replace(options, precision=precision))
        outputs[precision] = raw_outputs(engine, files, setup)
        engine.close()
    far = distance(outputs["fp32"], outputs["int8"])
    np.savez(target, raw=outputs["fp32"], distance=far)
    return far


def raw_outputs(engine: Engine, files: ModelFolder, setup: Setup, batch: int = 1) -> np.ndarray:
    """All raw outputs of some photos, float32 [photos, values]."""
    found = []
    for path in setup.images[:MOST_PHOTOS]:
        sample = files.preprocess(decode_image(path))
        found.append([out[0].ravel() for out in engine.run(stack_samples([sample] * batch))])
    return np.stack([np.concatenate(parts) for parts in found])


def distance(exact: np.ndarray, found: np.ndarray) -> float:
    """Norm of the difference in shares of the norm of `exact`; infinite for what is no number."""
    gap = float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    return gap if np.isfinite(gap) else float("inf")


def compare_roundings(reference: Path, found: np.ndarray) -> dict[str, Any]:
    """`boxes` and `boxes_agree` of a row, from the raw outputs of an engine.

    Args:
        reference: the file of `write_raw_reference`.
    """
    with np.load(reference) as arrays:
        exact, on_cpu = arrays["raw"], float(arrays["distance"])
    far = distance(exact, found)
    words = f"raw outputs {far:.1%} off by norm, on the CPU {on_cpu:.1%}"
    return {"boxes": words, "boxes_agree": far <= MOST_OF_CPU * on_cpu}
