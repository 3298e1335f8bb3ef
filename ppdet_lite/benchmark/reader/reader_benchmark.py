"""Speed of the readers of a configuration, against just decoding the same images.

Three passes per reader, so that none disturbs another: one that is timed step by step and notes the
files of every batch; the measured rounds, in which the reader and the plain decoding of the same
files take turns; one that looks at the memory of all processes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Sequence

import cv2
import numpy as np

from ppdet_lite.benchmark.process_memory import Memory, forget_peak, memory_of
from ppdet_lite.benchmark.reader.reader_steps import StepClock
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.core.workspace import create
from ppdet_lite.data.reader.readers import Reader
from ppdet_lite.utils.cpu import core_count
from ppdet_lite.utils.logger import get_logger, progress_bar

READERS = {"train": "TrainReader", "eval": "EvalReader"}

_DECODE_FLAGS = getattr(cv2, "IMREAD_COLOR_RGB", cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION


class Stopwatch:
    """Seconds inside `with`.

    Attributes:
        wall: on the clock.
        cpu: that processors worked, in all processes; workers count as soon as they have ended.
    """

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> Stopwatch:
        self._add(-1)
        return self

    def __exit__(self, *error: object) -> None:
        self._add(1)

    def _add(self, sign: int) -> None:
        times = os.times()
        self.wall += sign * time.perf_counter()
        self.cpu += sign * (time.process_time() + times[2] + times[3])


Read = Callable[[Reader], Iterator[dict[str, Any]]]
"""The measured batches of a reader, as often as it is called."""


def benchmark_readers(
    cfg: Config,
    readers: Sequence[str] = ("train", "eval"),
    workers: Optional[Sequence[int]] = None,
    batches: int = 20,
    repeat: int = 3,
    normalize: Sequence[str] = ("device",),
) -> dict[str, Any]:
    """Measures the readers of `cfg`.

    Args:
        readers: of "train" and "eval".
        workers: numbers of reader processes to try; None for 0 up to the number of cores.
        batches: batches per run; an epoch that is shorter is followed by the next one.
        repeat: runs per number of workers; the tables show medians.
        normalize: "device" for batches of uint8 pixels, as a run on a GPU reads, or "host" for
            float32, as a run on a CPU reads. Steps and memory are those of the first.

    Returns:
        `config`, `cores`, `readers` (name -> see `_measured`), `wall_s` and `cpu_s` of all of it.

    Raises:
        ConfigError: a number that makes no sense.
        DataError: no images, or images that cannot be read.
    """
    workers = range(core_count() + 1) if workers is None else workers
    numbers = {"batches": ([batches], 1), "repeat": ([repeat], 1), "workers": (workers, 0)}
    for key, (values, low) in numbers.items():
        if min(values, default=-1) < low:
            found = ", ".join(map(str, values)) or "none"
            raise ConfigError(f"`{key}`: found {found}, allowed: {low} or more")
    places, counts = dict.fromkeys(normalize), sorted(set(workers))  # each once
    settings = [(place, count) for place in places for count in counts]
    get_logger()  # what the readers have to say goes to the package's own log
    results, threads = {}, cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        with Stopwatch() as spent:
            for name in dict.fromkeys(readers):
                reader = _fitting(create(READERS[name], cfg))
                results[name] = _measured(name, reader, settings, batches, repeat)
    finally:
        cv2.setNumThreads(threads)
    return {
        "config": cfg.name,
        "cores": core_count(),
        "opencv": cv2.__version__,
        "readers": results,
        "wall_s": spent.wall,
        "cpu_s": spent.cpu,
    }


def _fitting(reader: Reader) -> Reader:
    """The reader with batches no larger than its data set."""
    name, count = type(reader).__name__, len(reader.dataset)
    if not count:
        raise DataError(f"{name}: the data set {reader.dataset.name} has no images to read")
    if count >= reader.batch_size:
        return reader
    text = "%s: %d images make no batch of %d; measured with batches of %d"
    get_logger().info(text, name, count, reader.batch_size, count)
    return reader.bound(batch_size=count)


def _measured(
    name: str, reader: Reader, settings: Sequence[tuple[str, int]], batches: int, repeat: int
) -> dict[str, Any]:
    """All numbers of one reader.

    Args:
        settings: (where pixels are normalized, number of workers) of the rounds.
    """
    workers = sorted({count for _, count in settings})
    passes = 1 + len(settings) * repeat + len(workers)
    passes += 0 if reader.data.cache_settings is None else 2
    parts = epoch_parts(len(reader), batches)
    reader = reader.bound(raw_pixels=settings[0][0] == "device", epochs=len(parts))
    with contextlib.closing(progress_bar(batches * passes, name, "batch")) as bar:

        def read(reader: Reader) -> Iterator[dict[str, Any]]:
            whole = len(reader)
            with contextlib.closing(reader):  # its workers live over the epochs, as in a training
                for epoch, count in parts:
                    for batch in reader.batches(epoch, stop=None if count == whole else count):
                        bar.update(1)
                        yield batch
                        del batch  # so that its memory can serve for the next one

        # All files that are needed are decoded, as without a cache.
        steps, files, samples = _step_times(reader.bound(cached=False), read)
        cache = reader.data.cache
        if cache is not None:
            for _ in read(reader.bound(worker_num=0)):
                pass  # fills the cache
            steps, _, _ = _step_times(reader, read)
        # One reader for all rounds: its memory for batches is fetched once, as in a training.
        bound = [
            reader.bound(worker_num=count, raw_pixels=place == "device")
            for place, count in settings
        ]
        rounds = [[_timed_round(each, read, files) for each in bound] for _ in range(repeat)]
        del bound
        memory = [_memory(reader, count, read) for count in workers]
    return {
        "images": len(reader.dataset),
        "batch_size": reader.batch_size,
        "batches": batches,
        "images_per_sample": sum(map(len, files)) / samples,
        "rendered_by": list(reader.plan.rendered_by),
        "cache": None
        if cache is None
        else {"kind": cache.settings.kind, "images": cache.store.count, "bytes": cache.store.used},
        "runs": _summaries(settings, list(zip(*rounds))),
        "steps": steps,
        "memory": memory,
    }


def epoch_parts(per_epoch: int, batches: int) -> list[tuple[int, int]]:
    """(epoch, number of batches to take from its beginning) for so many batches altogether."""
    whole, rest = divmod(batches, per_epoch)
    return [(epoch, per_epoch) for epoch in range(whole)] + ([(whole, rest)] if rest else [])


def _step_times(reader: Reader, read: Read) -> tuple[list[dict], list[list[str]], int]:
    """Rows of the table of steps, the decoded files of every batch, and the number of samples.

    Doubles as the warm-up: files are in the page cache after it.
    """
    clock, spent = StepClock(), Stopwatch()
    files: list[list[str]] = []
    samples = 0
    with spent:
        for batch in read(reader.bound(worker_num=0, clock=clock)):
            files.append(clock.take_files())
            samples += len(batch["im_file"])
    entries = [type(entry).__name__ for entry in reader.sample_transforms + reader.batch_transforms]
    order = {name: number for number, name in enumerate(entries)}
    names = sorted(clock.seconds, key=lambda name: order.get(name, len(order)))
    rest = spent.wall - sum(clock.seconds.values())
    rows = [(name, clock.seconds[name], clock.calls[name]) for name in names]
    steps = [
        {
            "step": name,
            "ms_per_sample": 1000 * seconds / samples,
            "share": seconds / spent.wall,
            "calls_per_sample": calls / samples,
        }
        for name, seconds, calls in [*rows, ("everything else", rest, samples)]
    ]
    return steps, files, samples


def _timed_round(reader: Reader, read: Read, files: list[list[str]]) -> dict[str, float]:
    """The reader and plain decoding of the same files, in turns: after every batch without
    workers; with workers, whose work never pauses, half of the decoding before and half after.
    """
    reading, decoding, samples = Stopwatch(), Stopwatch(), 0
    takes_turns = reader.worker_num == 0
    if not takes_turns:
        _decode(files[::2], decoding)
    source = read(reader)
    for number in range(len(files) + 1):  # once more, so that workers end
        with reading:
            batch = next(source, None)
        samples += len(batch["im_file"]) if batch else 0
        if takes_turns:
            _decode(files[number : number + 1], decoding)
    if not takes_turns:
        _decode(files[1::2], decoding)
    return {
        "samples": samples,
        "wall_s": reading.wall,
        "cpu_s": reading.cpu,
        "decode_wall_s": decoding.wall,
        "decode_cpu_s": decoding.cpu,
    }


def _decode(files: list[list[str]], spent: Stopwatch) -> None:
    """Decodes the images of some batches at full size; reading the files is not counted."""
    for paths in files:
        contents = [np.frombuffer(Path(path).read_bytes(), np.uint8) for path in paths]
        with spent:
            for content in contents:
                cv2.imdecode(content, _DECODE_FLAGS)


def _summaries(
    settings: Sequence[tuple[str, int]], rounds: Sequence[Sequence[dict[str, float]]]
) -> list[dict[str, Any]]:
    """One row per setting; ratios are medians over the rounds, all rounds are kept."""
    rows: list[dict[str, Any]] = []
    for (place, count), done in zip(settings, rounds):
        per_second = _ratio(done, "samples", "wall_s")
        rows.append(
            {
                "normalize": place,
                "workers": count,
                "samples_per_s": per_second,
                "ms_per_sample": 1000 / per_second,
                "decode_ms_per_sample": 1000 * _ratio(done, "decode_wall_s", "samples"),
                "ratio": _ratio(done, "wall_s", "decode_wall_s"),
                "cpu_ratio": _ratio(done, "cpu_s", "decode_cpu_s"),
                "cpu_per_wall": _ratio(done, "cpu_s", "wall_s"),
                "rounds": list(done),
            }
        )
    alone = {row["normalize"]: row["samples_per_s"] for row in rows if row["workers"] == 0}
    for row in rows:
        one = alone.get(row["normalize"])
        row["speedup"] = row["samples_per_s"] / one if one else None
    return rows


def _ratio(rounds: Sequence[dict[str, float]], above: str, below: str) -> Any:
    """The median of a quotient; None where there is nothing to divide by."""
    if not all(entry[below] for entry in rounds):
        return None
    return statistics.median(entry[above] / entry[below] for entry in rounds)


def _memory(reader: Reader, workers: int, read: Read) -> dict[str, Any]:
    """Largest memory of this process and of its workers, each looking at itself after every batch
    that it has made.
    """
    notes: multiprocessing.SimpleQueue[Memory] = multiprocessing.SimpleQueue()
    own_pid, resettable = os.getpid(), forget_peak()

    @contextlib.contextmanager
    def note_batches(step: str, path: str = "") -> Iterator[None]:
        yield
        if step == "batch" and os.getpid() != own_pid:
            notes.put(memory_of())

    parent, worker = memory_of(), Memory()
    for _ in read(reader.bound(worker_num=workers, clock=note_batches)):
        parent = parent.largest(memory_of())
        while not notes.empty():
            worker = worker.largest(notes.get())
    return {
        "workers": workers,
        "parent": {**parent.as_dict(), "peak_of_this_run": resettable},
        "largest_worker": None if worker == Memory() else worker.as_dict(),
    }
