"""Opening a large annotation file: seconds and memory against plain JSON parsing, and how much of
it forked workers hold again.

Every measurement runs in a process of its own, forked for it, so that none finds the memory of the
one before.
"""

import json
import multiprocessing
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Callable, Optional

from ppdet_lite.benchmark.process_memory import memory_of, resident_bytes
from ppdet_lite.benchmark.reader_report import table
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, merge_config, resolve
from ppdet_lite.data.reader.workers import can_fork
from ppdet_lite.data.sources.coco import COCODataSet

IMAGES, BOXES = 118_287, 860_001
"""As in COCO train2017."""

_WORKERS = 2
_RECORDS = 30_000
_POLYGONS = 500  # different ones; the file repeats them


def benchmark_annotations(cfg, path: Optional[str] = None) -> dict:
    """Opens a COCO annotation file with the settings of `TrainDataset`.

    Args:
        path: the file; None for a made one of COCO train2017's size, polygons included.

    Returns:
        `file`, `file_bytes`, `images`, `boxes`; `json_load` and `opened` with `seconds`,
        `peak_bytes` and `held_bytes` (above what the process held before); `worker_uss_bytes`, the
        largest memory that a forked worker has of its own after reading `worker_records` records.

    Raises:
        ConfigError: `TrainDataset` is no COCODataSet, or the system cannot fork.
        DataError: the file is not usable.
    """
    if not can_fork():
        raise ConfigError("--annotations: needs a system that can fork (Linux, macOS)")
    found = resolve("TrainDataset", cfg).cls
    if not issubclass(found, COCODataSet):
        raise ConfigError(
            f"--annotations: found TrainDataset {found.__name__}, needed: COCODataSet"
        )
    if path is not None:
        return _measure(cfg, Path(path).expanduser().resolve())
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "annotations.json"
        write_annotations(made)
        return _measure(cfg, made)


def write_annotations(path: Path, images: int = IMAGES, boxes: int = BOXES) -> None:
    """Writes a COCO annotation file with made boxes and one polygon of 25 points each."""
    draw = random.Random(0)
    polygons = [
        json.dumps([[round(draw.uniform(0, 400), 2) for _ in range(50)]]) for _ in range(_POLYGONS)
    ]
    with path.open("w") as out:
        out.write('{"images": [')
        for index in range(images):
            out.write(
                f'{", " if index else ""}{{"license": 3, "file_name": "{index:012d}.jpg", '
                f'"coco_url": "http://images.cocodataset.org/train2017/{index:012d}.jpg", '
                f'"height": 480, "width": 640, "date_captured": "2013-11-14 11:18:45", '
                f'"id": {index + 1}}}'
            )
        out.write('], "annotations": [')
        for index in range(boxes):
            x, y = draw.uniform(0, 400), draw.uniform(0, 300)
            width, height = draw.uniform(2, 240), draw.uniform(2, 180)
            out.write(
                f'{", " if index else ""}{{"segmentation": {draw.choice(polygons)}, '
                f'"area": {width * height:.4f}, "iscrowd": 0, '
                f'"image_id": {draw.randrange(images) + 1}, '
                f'"bbox": [{x:.2f}, {y:.2f}, {width:.2f}, {height:.2f}], '
                f'"category_id": {draw.randrange(80) + 1}, "id": {index + 1}}}'
            )
        classes = [{"id": number + 1, "name": f"class {number + 1}"} for number in range(80)]
        out.write(f'], "categories": {json.dumps(classes)}}}')


def report_annotations(result: dict) -> str:
    """The result as text."""
    rows = [
        [label, f"{entry['seconds']:.1f}", _megabytes(entry["peak_bytes"])]
        + [_megabytes(entry["held_bytes"])]
        for label, entry in (
            ("json.load (Python objects)", result["json_load"]),
            ("data set opened (arrays)", result["opened"]),
        )
    ]
    return "\n".join(
        [
            f"annotations: {result['file']}, {result['file_bytes'] / 2**20:.0f} MB, "
            f"{result['images']} images, {result['boxes']} boxes",
            *table(["", "seconds", "peak MB", "held MB"], rows),
            f"a forked worker's own memory after {result['worker_records']} records: "
            f"{_megabytes(result['worker_uss_bytes'])} MB",
        ]
    )


def _megabytes(count: Optional[int]) -> str:
    return "-" if count is None else f"{count / 2**20:.0f}"


def _measure(cfg, path: Path) -> dict:
    paths = {"dataset_dir": str(path.parent), "image_dir": "", "anno_path": str(path)}
    cfg = merge_config(cfg, {"TrainDataset": paths}, "--annotations")
    opened = _in_child(lambda: _open(cfg))
    loaded = _in_child(lambda: _load(path))
    return {
        "file": str(path),
        "file_bytes": path.stat().st_size,
        "images": opened.pop("images"),
        "boxes": opened.pop("boxes"),
        "worker_records": opened.pop("worker_records"),
        "worker_uss_bytes": opened.pop("worker_uss_bytes"),
        "json_load": loaded,
        "opened": opened,
    }


def _load(path: Path) -> dict:
    def load():
        with path.open("rb") as stream:
            return json.load(stream)

    return _cost_of(load)[0]


def _open(cfg) -> dict:
    cost, dataset = _cost_of(lambda: create("TrainDataset", cfg))
    step = max(len(dataset) // _RECORDS, 1)
    chosen = range(0, len(dataset), step)
    owned = [_in_child(lambda: _own_after_reading(dataset, chosen)) for _ in range(_WORKERS)]
    return {
        **cost,
        "images": len(dataset),
        "boxes": dataset.box_count,
        "worker_records": len(chosen),
        "worker_uss_bytes": None if None in owned else max(owned),
    }


def _own_after_reading(dataset, chosen) -> Optional[int]:
    """What a forked worker holds of its own beyond what every forked process does."""
    before = memory_of().uss
    for index in chosen:
        dataset.record(index)
    after = memory_of().uss
    return None if before is None else max(after - before, 0)


def _cost_of(make: Callable) -> tuple:
    """Seconds and memory of make(), with what it returned."""
    before, peak = resident_bytes(), memory_of().peak
    began = time.perf_counter()
    made = make()
    seconds = time.perf_counter() - began
    held = None if before is None else resident_bytes() - before
    # The system counts resident pages in steps, so what is held may exceed its peak by some.
    peak = max(memory_of().peak - peak, held or 0)
    return {"seconds": seconds, "peak_bytes": peak, "held_bytes": held}, made


def _in_child(work: Callable):
    """work() in a forked process; its error is raised here."""
    method = multiprocessing.get_context("fork")
    here, there = method.Pipe(duplex=False)
    process = method.Process(target=_send, args=(work, there))
    process.start()
    there.close()
    try:
        failed, result = here.recv()
    except EOFError:
        process.join()
        raise ConfigError(
            f"--annotations: the measuring process ended with exit code {process.exitcode}; "
            "often the machine ran out of memory"
        ) from None
    process.join()
    if failed:
        raise result
    return result


def _send(work: Callable, pipe) -> None:
    try:
        message = (False, work())
    except Exception as error:
        message = (True, error)
    pipe.send(message)
    pipe.close()
    os._exit(0)  # freeing millions of objects one by one would only cost time
