"""Times of the stages from image files to their detections, behind --run_benchmark."""

import time
from pathlib import Path

import numpy as np

from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.detector import Detector

WARM_UP = 3
"""Runs that are not counted: they allocate memory and prepare kernels."""

STAGES = ("read and decode file", "preprocess", "network, decoding, NMS", "total")


def benchmark(detector: Detector, path: Path, repeats: int, batch_size: int = 1) -> str:
    """A table of milliseconds for one image, or a batch that holds it `batch_size` times: median
    and 95th percentile of `repeats` runs."""
    rows = []
    for _ in range(WARM_UP + repeats):
        times = [time.perf_counter()]
        images = [decode_image(path) for _ in range(batch_size)]
        times.append(time.perf_counter())
        samples = [detector.preprocess(image) for image in images]
        times.append(time.perf_counter())
        detector.run(samples)
        times.append(time.perf_counter())
        rows.append(1000 * np.diff(times))
    engine, size = detector.engine, detector.fixed_batch or batch_size
    batch = f"batch {size}" if size == batch_size else f"{batch_size} of a batch of {size}"
    lines = [f"{path}: {batch}, {repeats} runs, {engine.device}, {engine.kernels} kernels"]
    lines.append(f"{'stage':<24}{'median ms':>12}{'p95 ms':>12}")
    columns = np.array(rows[WARM_UP:]).T
    total = columns.sum(axis=0)
    for name, values in zip(STAGES, [*columns, total]):
        median, high = np.percentile(values, [50, 95])
        lines.append(f"{name:<24}{median:>12.2f}{high:>12.2f}")
    lines.append(f"{1000 * batch_size / np.median(total):.2f} images/s")
    return "\n".join(lines)
