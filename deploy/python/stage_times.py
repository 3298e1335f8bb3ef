"""Times of the stages from a picture file to its detections, behind --run_benchmark."""

import time
from pathlib import Path

import numpy as np

from ppdet_lite.data.image_ops import decode_image

WARM_UP = 3
"""Runs that are not counted: they allocate memory and prepare kernels."""

STAGES = ("read and decode file", "preprocess", "network, decoding, NMS")


def stage_times(detector, picture: Path, repeats: int) -> "dict[str, np.ndarray]":
    """Milliseconds of each stage for one picture, and their sum under "total"."""
    rows = []
    for _ in range(repeats + WARM_UP):
        times = [time.perf_counter()]
        image = decode_image(picture)
        times.append(time.perf_counter())
        sample = detector.preprocess(image)
        times.append(time.perf_counter())
        detector.run([sample])
        times.append(time.perf_counter())
        rows.append(1000 * np.diff(times))
    columns = np.array(rows[WARM_UP:]).T
    return {**dict(zip(STAGES, columns)), "total": columns.sum(axis=0)}


def benchmark(detector, picture: Path, repeats: int) -> str:
    """A table of the stages: median and 95th percentile of `repeats` runs."""
    engine = detector.engine
    stages = stage_times(detector, picture, repeats)
    size = detector.fixed_batch or 1
    batch = "batch 1" if size == 1 else f"one picture in a batch of {size}"
    lines = [f"{picture}: {batch}, {repeats} runs, {engine.device}, {engine.kernels} kernels"]
    lines.append(f"{'stage':<24}{'median ms':>12}{'p95 ms':>12}")
    for name, values in stages.items():
        median, high = np.percentile(values, [50, 95])
        lines.append(f"{name:<24}{median:>12.2f}{high:>12.2f}")
    lines.append(f"{1000 / np.median(stages['total']):.2f} images/s")
    return "\n".join(lines)
