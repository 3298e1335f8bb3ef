#!/usr/bin/env python3
"""Measures opening a large COCO annotation file: seconds and memory against plain JSON parsing, and
how much of it forked workers hold again."""

# Every measurement runs in a process of its own, forked for it, so that none finds the memory of
# the one before.

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ppdet_lite.benchmark.process_memory import memory_of, resident_bytes  # noqa: E402
from ppdet_lite.benchmark.tables import aligned_table, megabytes  # noqa: E402
from ppdet_lite.cli.tool import config_from_args, config_parser, run_tool  # noqa: E402
from ppdet_lite.core.build import create, resolve  # noqa: E402
from ppdet_lite.core.config import merge_config  # noqa: E402
from ppdet_lite.core.errors import ConfigError  # noqa: E402
from ppdet_lite.data.reader.workers import can_fork  # noqa: E402
from ppdet_lite.data.sources.coco import COCODataSet  # noqa: E402
from ppdet_lite.utils.files import check_writable, write_json  # noqa: E402

EXAMPLES = """  python tools/dev/benchmark_annotations.py \\
      -c configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml
  ... --annotations instances.json     a file, in place of one of COCO train2017's size made for it
  ... --json annotations.json          all numbers, for other programs
"""

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
        raise ConfigError("`annotations`: needs a system that can fork (Linux, macOS)")
    found = resolve("TrainDataset", cfg).cls
    if not issubclass(found, COCODataSet):
        raise ConfigError(f"TrainDataset: found {found.__name__}, needed: COCODataSet")
    if path is not None:
        return _measured(cfg, Path(path).expanduser().resolve())
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "annotations.json"
        write_annotations(made)
        return _measured(cfg, made)


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
        [
            label,
            f"{entry['seconds']:.1f}",
            *map(megabytes, (entry["peak_bytes"], entry["held_bytes"])),
        ]
        for label, entry in (
            ("json.load (Python objects)", result["json_load"]),
            ("data set opened (arrays)", result["opened"]),
        )
    ]
    return "\n".join(
        [
            f"annotations: {result['file']}, {megabytes(result['file_bytes'])} MB, "
            f"{result['images']} images, {result['boxes']} boxes",
            *aligned_table(["", "seconds", "peak MB", "held MB"], rows),
            f"a forked worker's own memory after {result['worker_records']} records: "
            f"{megabytes(result['worker_uss_bytes'])} MB",
        ]
    )


def _measured(cfg, path: Path) -> dict:
    paths = {"dataset_dir": str(path.parent), "image_dir": "", "anno_path": str(path)}
    cfg = merge_config(cfg, {"TrainDataset": paths}, "--annotations")
    opened = _in_child(lambda: _open(cfg))
    return {
        "file": str(path),
        "file_bytes": path.stat().st_size,
        **{key: opened.pop(key) for key in ("images", "boxes")},
        **{key: opened.pop(key) for key in ("worker_records", "worker_uss_bytes")},
        "json_load": _in_child(lambda: _cost_of(lambda: json.loads(path.read_bytes()))[0]),
        "opened": opened,
    }


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


def _own_after_reading(dataset, chosen: range) -> Optional[int]:
    """Bytes that a forked worker holds of its own beyond what every forked process does."""
    before = memory_of().uss
    for index in chosen:
        dataset.record(index)
    after = memory_of().uss
    return None if before is None or after is None else max(after - before, 0)


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
            f"`annotations`: the measuring process ended with exit code {process.exitcode}; "
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


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    parser.add_argument("--annotations", metavar="FILE", help="default: made for this")
    parser.add_argument("--json", metavar="FILE", help="also write all numbers to this file")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    cfg = config_from_args(args)
    if args.json:
        check_writable(args.json)
    result = benchmark_annotations(cfg, args.annotations)
    print(report_annotations(result))
    if args.json:
        write_json(args.json, result)


if __name__ == "__main__":
    run_tool(main, build_parser())
