"""Writes the float16 files of an export beside those of float32."""

from pathlib import Path
from typing import Any

import onnx

from ppdet_lite.export.calibration import Calibration
from ppdet_lite.export.onnx.float16.half import float32_by_design, to_half
from ppdet_lite.export.onnx.float16.half_layers import (
    LARGEST,
    Layers,
    largest_values,
    layers_for_float32,
)
from ppdet_lite.runtime.contract import HALF_FILES
from ppdet_lite.utils.logger import get_logger

MOST_NAMED = 8
"""More layers are not named in the log; infer_cfg.yml names all."""


def write_half_files(folder: Path, calibration: Calibration) -> dict[str, Any]:
    """Writes the float16 file for each .onnx in `folder`.

    Returns:
        The value of `InferConfig.fp16`.
    """
    models = {
        name: onnx.load(str(folder / name)) for name in HALF_FILES if (folder / name).is_file()
    }
    last = list(models)[-1]  # a portable one has all tensors of the other, and runs everywhere
    largest = largest_values(models[last], calibration.batches(), folder / last)
    layers: Layers = {}
    for name, model in models.items():
        nodes, found = layers_for_float32(model, largest)
        layers = {**found, **layers}
        half = to_half(model, float32_by_design(model) | nodes)
        onnx.save(half, str(folder / HALF_FILES[name]))
    _report(layers, calibration.source, max(largest.values()))
    return {"calibration": calibration.source, "float32_layers": layers}


def _report(layers: Layers, source: str, largest: float) -> None:
    if not layers:
        get_logger().info(
            "float16: no value above %.4g on %s, %.0f is the largest that it holds",
            largest,
            source,
            LARGEST,
        )
        return
    named = [f"{layer} ({reason})" for layer, reason in list(layers.items())[:MOST_NAMED]]
    more = f" and {len(layers) - len(named)} more" if len(layers) > len(named) else ""
    get_logger().warning(
        "float16 cannot hold the values of %d layers on %s, they stay in float32: %s%s",
        len(layers),
        source,
        ", ".join(named),
        more,
    )
