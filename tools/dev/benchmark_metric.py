#!/usr/bin/env python3
"""CPU time and memory of the COCO metric over the number of images, with each of its libraries.

Annotations and detections are drawn: 80 classes as frequent as a power law has it, 7 objects per
image, and 100 detections per image, as many as a network gives. Each case runs in a process of its
own, so that its peak memory is its own.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402

from ppdet_lite.cli.tool import run_tool  # noqa: E402
from ppdet_lite.metrics.box_evaluation import FASTER, PYCOCOTOOLS  # noqa: E402
from ppdet_lite.metrics.coco import COCOMetric  # noqa: E402
from ppdet_lite.utils.cpu import peak_resident_bytes  # noqa: E402

CLASSES, OBJECTS, DETECTIONS = 80, 7, 100


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--images", type=int, nargs="+", default=[500, 5000], help="numbers of images")
    names = [PYCOCOTOOLS, FASTER]
    add("--libraries", nargs="+", default=names, choices=names)
    add("--one", action="store_true", help=argparse.SUPPRESS)
    return parser


def drawn_metric(images: int, library: str) -> COCOMetric:
    """A metric that has seen all detections."""
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, CLASSES + 1)
    frequency /= frequency.sum()
    owners = np.repeat(np.arange(images), OBJECTS)
    classes = rng.choice(CLASSES, len(owners), p=frequency)
    corners = rng.uniform(0, 500, (len(owners), 2))
    sizes = np.exp(rng.uniform(np.log(8), np.log(400), (len(owners), 2)))
    truth = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": k + 1, "name": str(k)} for k in range(CLASSES)],
        "annotations": [
            {"id": n, "image_id": i, "category_id": k + 1, "bbox": [*xy, *wh], "iscrowd": 0}
            for n, (i, k, xy, wh) in enumerate(
                zip(owners.tolist(), classes.tolist(), corners.tolist(), sizes.tolist())
            )
        ],
    }
    metric = COCOMetric(truth, library=library)
    of_image = np.arange(images)[:, None] * OBJECTS + rng.integers(0, OBJECTS, (images, DETECTIONS))
    for image, objects in enumerate(of_image):
        boxes = np.concatenate([corners[objects], corners[objects] + sizes[objects]], 1)
        boxes += rng.normal(0, 0.15, (DETECTIONS, 4)) * np.tile(sizes[objects], 2)
        labels = np.where(rng.random(DETECTIONS) < 0.7, classes[objects], rng.integers(0, CLASSES))
        rows = np.column_stack([labels, rng.random(DETECTIONS), boxes]).astype(np.float32)
        metric.update(np.array([image]), rows, np.array([DETECTIONS]))
    return metric


def main(args: argparse.Namespace) -> None:
    if args.one:
        metric = drawn_metric(args.images[0], args.libraries[0])
        before, started = peak_resident_bytes() or 0, time.process_time()
        average = metric.results()["bbox/AP"]
        seconds, peak = time.process_time() - started, peak_resident_bytes() or 0
        print(json.dumps([seconds, peak / 2**20, (peak - before) / 2**20, average]))
        return
    print("| images | detections | library | CPU seconds | peak MB | MB of the metric | AP |")
    print("|---|---|---|---|---|---|---|")
    for images in args.images:
        for library in args.libraries:
            command = [sys.executable, __file__, "--one", "--images", str(images)]
            command += ["--libraries", library]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            seconds, peak, own, average = json.loads(output.splitlines()[-1])
            cells = (images, images * DETECTIONS, library, f"{seconds:.1f}", f"{peak:.0f}")
            print(f"| {' | '.join(map(str, cells))} | {own:.0f} | {average:.10f} |")


if __name__ == "__main__":
    run_tool(main, build_parser())
