#!/usr/bin/env python3
"""Time and memory of `ppdet report` for a data set of COCO's size, with made-up detections."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

REPO = Path(__file__).resolve().parent.parent.parent
CLASSES, LABELS, DETECTIONS = 80, 7.3, 100
"""Classes; labels and detections of an image, as in COCO's validation set."""
PHOTOS, SIZE = 32, (480, 640)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000, metavar="N", help="default: 5000")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, args.images)
        code = "from ppdet_lite.commands.main import main; main()"
        command = [sys.executable, "-c", code, "report", str(folder / "bbox.json")]
        started = time.perf_counter()
        subprocess.run(command, check=True, cwd=REPO)
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        peak, cpu = used.ru_maxrss / 2**20, used.ru_utime + used.ru_stime
        page = (folder / "bbox_report" / "index.html").stat().st_size / 2**20
        times = f"{seconds:.1f} s ({cpu:.1f} s of CPU time)"
        print(f"{args.images} images: {times}, {peak:.2f} GiB, page of {page:.1f} MiB")


def make_files(folder: Path, count: int) -> None:
    """Photos, `truth.json` and `bbox.json`: some labels are found, twice, or as another class."""
    rng = np.random.default_rng(0)
    photos = []
    for number in range(PHOTOS):
        photos.append(str(folder / f"{number}.jpg"))
        small = rng.integers(0, 255, (12, 16, 3)).astype(np.uint8)
        cv2.imwrite(photos[-1], cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC))
    truth: dict = {"images": [], "annotations": []}
    truth["categories"] = [{"id": i + 1, "name": f"class {i}"} for i in range(CLASSES)]
    results = []
    for image in range(count):
        path = photos[image % PHOTOS]
        truth["images"].append({"id": image, "file_name": f"{image}.jpg", "path": path})
        amount = int(rng.poisson(LABELS))
        boxes = random_boxes(rng, amount)
        kinds = rng.integers(1, CLASSES + 1, amount)
        for box, kind in zip(boxes, kinds):
            annotation = {"image_id": image, "category_id": int(kind), "bbox": box.tolist()}
            truth["annotations"].append({**annotation, "area": float(box[2] * box[3])})
        near = np.repeat(np.arange(amount), rng.integers(0, 4, amount))[:DETECTIONS]
        found = random_boxes(rng, DETECTIONS)
        found[: len(near)] = boxes[near] + rng.normal(0, 6, (len(near), 4))
        classes = rng.integers(1, CLASSES + 1, DETECTIONS)
        is_right = rng.random(len(near)) < 0.85
        classes[: len(near)][is_right] = kinds[near][is_right]
        scores = rng.beta(1, 12, DETECTIONS)
        scores[: len(near)] = rng.beta(3, 2, len(near))
        for kind, box, score in zip(classes, found.clip(1).round(2), scores):
            entry = {"image_id": image, "category_id": int(kind), "bbox": box.tolist()}
            results.append({**entry, "score": round(float(score), 5)})
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "bbox.json").write_text(json.dumps(results))


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """x, y, width, height in pixels, [count, 4]; many small ones."""
    sizes = np.exp(rng.uniform(np.log(8), np.log(300), (count, 2)))
    corners = rng.random((count, 2)) * np.maximum(np.array(SIZE[::-1]) - sizes, 1)
    return np.concatenate([corners, sizes], axis=1).round(2)


if __name__ == "__main__":
    main()
