"""How fast the readers of a configuration are, against just decoding the same images.

Three passes per reader, so that none disturbs another: one that is timed step by step and notes the
files of every batch; the measured rounds, in which the reader and the plain decoding of the same
files take turns; one that looks at the memory of all processes.
"""

import contextlib
import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple, Optional, Sequence

import cv2
import numpy as np

from ppdet_lite.benchmark.process_memory import ForkedMemory, forget_peak, memory_of
from ppdet_lite.benchmark.reader_steps import StepClock
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.core.workspace import create
from ppdet_lite.utils.cpu import core_count
from ppdet_lite.utils.logger import get_logger, progress_bar

READERS = {"train": "TrainReader", "eval": "EvalReader"}

NORMALIZE = ("device", "host")
"""Batches of uint8 pixels, as a run on a GPU reads, or of float32, as a run on a CPU reads."""

_DECODE_FLAGS = getattr(cv2, "IMREAD_COLOR_RGB", cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION


class Spent(NamedTuple):
    """Seconds on the clock, and seconds that processors worked for it (all its processes)."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.wall - other.wall, self.cpu - other.cpu)

    @classmethod
    def now(cls) -> "Spent":
        """Both clocks; workers count as soon as they have ended."""
        times = os.times()
        return cls(time.perf_counter(), time.process_time() + times[2] + times[3])


class Round(NamedTuple):
    """One run over the batches: samples, the reader's time and that of plain decoding."""

    samples: int
    reader: Spent
    decode: Spent


def benchmark_readers(
    cfg,
    readers: Sequence[str] = ("train", "eval"),
    workers: Optional[Sequence[int]] = None,
    batches: int = 20,
    repeat: int = 3,
    normalize: Sequence[str] = ("device",),
) -> dict:
    """Measures the readers of `cfg`.

    Args:
        readers: of "train" and "eval".
        workers: numbers of reader processes to try; None for 0 up to the number of cores.
        batches: batches per run; an epoch that is shorter is followed by the next one.
        repeat: runs per number of workers; the tables show medians.
        normalize: of NORMALIZE: where mean and std are applied. Steps and memory are those of the
            first.

    Returns:
        `config`, `cores`, `readers` (name -> see `_measured`), `wall_s` and `cpu_s` of all of it.

    Raises:
        ConfigError: a number that makes no sense.
        DataError: no images, or images that cannot be read.
    """
    workers = list(range(core_count() + 1)) if workers is None else list(workers)
    for key, value in (("--batches", batches), ("--repeat", repeat)):
        if value < 1:
            raise ConfigError(f"{key}: found {value}, allowed: 1 or more")
    if not workers or min(workers) < 0:
        raise ConfigError(f"--workers: found {workers}, allowed: 0 or more")
    readers, normalize = dict.fromkeys(readers), list(dict.fromkeys(normalize))  # each once
    get_logger()  # what the readers have to say goes to the package's own log
    began, threads = Spent.now(), cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        results = {
            name: _measured(
                name, _reader(cfg, name), sorted(set(workers)), batches, repeat, normalize
            )
            for name in readers
        }
    finally:
        cv2.setNumThreads(threads)
    total = Spent.now() - began
    return {
        "config": cfg.name,
        "cores": core_count(),
        "opencv": cv2.__version__,
        "readers": results,
        "wall_s": total.wall,
        "cpu_s": total.cpu,
    }


def _reader(cfg, name: str):
    """The reader `name`, with batches no larger than its data set."""
    reader = create(READERS[name], cfg)
    count = len(reader.dataset)
    if not count:
        label = reader.dataset.name
        raise DataError(f"{READERS[name]}: the data set {label} has no images to read")
    if count < reader.batch_size:
        get_logger().info(
            "%s: %d images make no batch of %d; measured with batches of %d",
            READERS[name],
            count,
            reader.batch_size,
            count,
        )
        return reader.bound(batch_size=count)
    return reader


def _measured(
    name: str, reader, workers: list[int], batches: int, repeat: int, normalize: Sequence[str]
) -> dict:
    """All numbers of one reader: `steps`, `runs`, `memory`, `rendered_by`, `cache`,
    `images_per_sample`, `batch_size`, `batches`, `images`.
    """
    parts = _parts(len(reader), batches)
    settings = [(place, count) for place in normalize for count in workers]
    has_cache = reader.data.cache_settings is not None
    passes = 1 + len(settings) * repeat + len(workers) + (2 if has_cache else 0)
    reader = reader.bound(raw_pixels=normalize[0] == "device")
    bar = progress_bar(batches * passes, name, "batch")
    try:
        # All files that are needed are decoded, as without a cache.
        steps, files, samples = _step_times(reader.bound(cached=False), parts, bar)
        cache = _filled_cache(reader, parts, bar)
        if cache is not None:
            steps, _, _ = _step_times(reader, parts, bar)
        rounds = {setting: [] for setting in settings}
        # One reader for all rounds: its memory for batches is fetched once, as in a training.
        bound = {
            (place, count): reader.bound(worker_num=count, raw_pixels=place == "device")
            for place, count in settings
        }
        for _ in range(repeat):
            for setting in settings:
                rounds[setting].append(_timed_round(bound[setting], parts, files, bar))
        bound.clear()
        memory = [_memory(reader, count, parts, bar) for count in workers]
    finally:
        bar.close()
    return {
        "images": len(reader.dataset),
        "batch_size": reader.batch_size,
        "batches": batches,
        "images_per_sample": sum(map(len, files)) / samples,
        "rendered_by": list(reader.plan.rendered_by),
        "cache": cache,
        "runs": _runs(rounds),
        "steps": steps,
        "memory": memory,
    }


def _filled_cache(reader, parts, bar) -> Optional[dict]:
    """Fills the image cache with the images of the measured batches, and says what it holds."""
    cache = reader.data.cache
    if cache is None:
        return None
    for _ in _batches(reader.bound(worker_num=0), parts):
        bar.update(1)
    return {"kind": cache.settings.kind, "images": cache.count, "bytes": cache.used}


def _parts(per_epoch: int, batches: int) -> list[tuple[int, int]]:
    """(epoch, number of batches to take from its beginning) for so many batches altogether."""
    whole, rest = divmod(batches, per_epoch)
    return [(epoch, per_epoch) for epoch in range(whole)] + ([(whole, rest)] if rest else [])


def _batches(reader, parts):
    for epoch, count in parts:
        yield from reader.batches(epoch, stop=count)


def _step_times(reader, parts, bar):
    """Rows of the table of steps, the decoded files of every batch, and the number of samples.

    Doubles as the warm-up: files are in the page cache after it.
    """
    files, samples, clock = [], 0, StepClock()
    began = time.perf_counter()
    for batch in _batches(reader.bound(worker_num=0, clock=clock), parts):
        files.append(clock.take_files())
        samples += len(batch["im_file"])
        bar.update(1)
    total = time.perf_counter() - began
    order = {
        type(entry).__name__: number
        for number, entry in enumerate([*reader.sample_transforms, *reader.batch_transforms])
    }
    names = sorted(clock.seconds, key=lambda name: order.get(name, len(order)))
    rows = [(name, clock.seconds[name], clock.calls[name]) for name in names]
    rows.append(("everything else", total - sum(clock.seconds.values()), samples))
    steps = [
        {
            "step": name,
            "ms_per_sample": 1000 * seconds / samples,
            "share": seconds / total,
            "calls_per_sample": calls / samples,
        }
        for name, seconds, calls in rows
    ]
    return steps, files, samples


def _timed_round(reader, parts, files: list[list[str]], bar) -> Round:
    """The reader and plain decoding of the same files, in turns: after every batch without
    workers; with workers, whose work never pauses, half of the decoding before and half after.
    """
    turns = reader.worker_num == 0
    decode, samples = Spent(), 0
    if not turns:
        decode = decode + _decode_time(files[::2])
    began, source = Spent.now(), _batches(reader, parts)
    spent = Spent()
    for number, batch in enumerate(source):
        samples += len(batch["im_file"])
        if turns:
            spent = spent + (Spent.now() - began)
            decode = decode + _decode_time(files[number : number + 1])
            began = Spent.now()
        bar.update(1)
    spent = spent + (Spent.now() - began)
    if not turns:
        decode = decode + _decode_time(files[1::2])
    return Round(samples, spent, decode)


def _decode_time(files: list[list[str]]) -> Spent:
    """The time of decoding the images of some batches at full size, without reading the files."""
    spent = Spent()
    for paths in files:
        contents = [np.frombuffer(Path(path).read_bytes(), np.uint8) for path in paths]
        began = Spent.now()
        for content in contents:
            cv2.imdecode(content, _DECODE_FLAGS)
        spent = spent + (Spent.now() - began)
    return spent


def _runs(rounds: dict[tuple[str, int], list[Round]]) -> list[dict]:
    """One row per setting; ratios are medians over the rounds, all rounds are kept."""
    rows = []
    for (place, count), done in rounds.items():
        per_second = statistics.median(r.samples / r.reader.wall for r in done)
        decodes = all(r.decode.wall and r.decode.cpu for r in done)
        ratios = [r.reader.wall / r.decode.wall for r in done] if decodes else []
        cpu_ratios = [r.reader.cpu / r.decode.cpu for r in done] if decodes else []
        rows.append(
            {
                "normalize": place,
                "workers": count,
                "samples_per_s": per_second,
                "ms_per_sample": 1000 / per_second,
                "decode_ms_per_sample": 1000
                * statistics.median(r.decode.wall / r.samples for r in done),
                "ratio": statistics.median(ratios) if ratios else None,
                "cpu_ratio": statistics.median(cpu_ratios) if ratios else None,
                "cpu_per_wall": statistics.median(r.reader.cpu / r.reader.wall for r in done),
                "rounds": [
                    {
                        "samples": r.samples,
                        "wall_s": r.reader.wall,
                        "cpu_s": r.reader.cpu,
                        "decode_wall_s": r.decode.wall,
                        "decode_cpu_s": r.decode.cpu,
                    }
                    for r in done
                ],
            }
        )
    alone = {row["normalize"]: row["samples_per_s"] for row in rows if row["workers"] == 0}
    for row in rows:
        one = alone.get(row["normalize"])
        row["speedup"] = row["samples_per_s"] / one if one else None
    return rows


def _memory(reader, workers: int, parts, bar) -> dict:
    """Largest memory of this process and of its workers, each looking at itself after every batch
    that it has made.
    """
    with ForkedMemory() as forked:

        @contextlib.contextmanager
        def note_batches(step: str, path: str = ""):
            yield
            if step == "batch":
                forked.note()

        resettable = forget_peak()
        parent, worker = memory_of(), None
        for _ in _batches(reader.bound(worker_num=workers, clock=note_batches), parts):
            parent = parent.largest(memory_of())
            for found in forked.notes():
                worker = found if worker is None else worker.largest(found)
            bar.update(1)
    return {
        "workers": workers,
        "parent": {**parent.as_dict(), "peak_of_this_run": resettable},
        "largest_worker": None if worker is None else worker.as_dict(),
    }
