"""Times of the stages from image files to their detections, behind --run_benchmark."""

import time
from pathlib import Path

import numpy as np

from ppdet_lite.data.pixels.image_ops import decode_image

WARM_UP = 3
"""Runs that are not counted: they allocate memory and prepare kernels."""

STAGES = ("read and decode file", "preprocess", "network, decoding, NMS")


def stage_times(detector, path: Path, repeats: int, batch_size: int = 1) -> dict[str, np.ndarray]:
    """Milliseconds of each stage for one image, or for a batch that holds it `batch_size` times,
    and their sum under "total"."""
    count = range(batch_size)
    rows = []
    for _ in range(repeats + WARM_UP):
        times = [time.perf_counter()]
        images = [decode_image(path) for _ in count]
        times.append(time.perf_counter())
        samples = [detector.preprocess(image) for image in images]
        times.append(time.perf_counter())
        detector.run(samples)
        times.append(time.perf_counter())
        rows.append(1000 * np.diff(times))
    columns = np.array(rows[WARM_UP:]).T
    return {**dict(zip(STAGES, columns)), "total": columns.sum(axis=0)}


def benchmark(detector, path: Path, repeats: int, batch_size: int = 1) -> str:
    """A table of the stages of a batch: median and 95th percentile of `repeats` runs."""
    engine = detector.engine
    stages = stage_times(detector, path, repeats, batch_size)
    size = detector.fixed_batch or batch_size
    batch = f"batch {size}" if size == batch_size else f"{batch_size} of a batch of {size}"
    lines = [f"{path}: {batch}, {repeats} runs, {engine.device}, {engine.kernels} kernels"]
    lines.append(f"{'stage':<24}{'median ms':>12}{'p95 ms':>12}")
    for name, values in stages.items():
        median, high = np.percentile(values, [50, 95])
        lines.append(f"{name:<24}{median:>12.2f}{high:>12.2f}")
    lines.append(f"{1000 * batch_size / np.median(stages['total']):.2f} images/s")
    return "\n".join(lines)
