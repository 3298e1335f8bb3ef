"""From JPEG files to boxes without a pause: the reader's processes, or threads, feed the engine."""

import collections
import contextlib
import itertools
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Sequence

import cv2
import numpy as np

from ppdet_lite.benchmark.gpu_check.cases import Case, Setup
from ppdet_lite.benchmark.gpu_check.inference import Note, open_detector
from ppdet_lite.core.errors import UserError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.data.reader.readers import TestReader
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute
from ppdet_lite.data.transforms.pad import Pad
from ppdet_lite.data.transforms.resize import Resize
from ppdet_lite.data.transforms.transform import Transform
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.engines.engine import stack_samples

Batch = dict[str, Any]
Batches = Iterator[Batch]

TRANSFORMS: dict[str, type[Transform]] = {
    "Resize": Resize,
    "Pad": Pad,
    "NormalizeImage": NormalizeImage,
    "Permute": Permute,
}
"""The reader's forms of the steps of infer_cfg.yml."""

MOST_IMAGES = 100_000
"""More than any machine reads in a measurement."""


class RepeatedPhotos(Dataset):
    """A few photos over and over, as if each were another."""

    def __init__(self, paths: Sequence[Path]):
        super().__init__("photos")
        self.paths = list(map(str, paths))

    def __len__(self) -> int:
        return MOST_IMAGES

    def record(self, index: int) -> dict[str, Any]:
        path = self.paths[index % len(self.paths)]
        return {"im_file": path, "im_id": np.array([index], np.int64)}


def measure_throughput(case: Case, setup: Setup, note: Note) -> None:
    """Images per second of the engine alone, and of each way to feed it, alone and with the engine;
    the faster way counts."""
    detector = open_detector(case, setup)
    note(runs_on=detector.engine.runs_on)
    sample = detector.preprocess(decode_image(setup.images[0]))
    batch = stack_samples([sample] * case.batch)
    for _ in range(setup.warmup):
        detector.engine.run(batch)
    engine = rate(itertools.repeat(batch), case.batch, setup.seconds, detector)
    note(engine_images_per_s=engine, reader_processes=setup.threads)
    ways: dict[str, Callable[[], Batches]] = {
        "reader": lambda: iter(reader_of(detector, setup.images, case.batch, setup.threads)),
        "threads": lambda: thread_batches(detector, setup.images, case.batch, setup.threads),
    }
    best = 0.0
    for name, feed in ways.items():
        alone = rate(feed(), case.batch, setup.seconds)
        together = rate(ahead(feed()), case.batch, setup.seconds, detector)
        note(**{f"{name}_alone": alone, f"{name}_with_engine": together})
        if together > best:
            best = together
            note(
                fed_by=name,
                reader_images_per_s=alone,
                images_per_s=together,
                share_of_engine=together / engine,
            )


def rate(
    batches: Batches,
    batch: int,
    seconds: float,
    detector: Optional[Detector] = None,
) -> float:
    """Images per second, through the engine if there is one; the first batch is not counted, for
    processes start before it."""
    count, started = -1, 0.0
    with contextlib.ExitStack() as stack:
        if hasattr(batches, "close"):
            stack.callback(batches.close)
        for inputs in batches:
            if detector is not None:
                detector.engine.run({name: inputs[name] for name in detector.engine.input_names})
            count += 1
            if count == 0:
                started = time.perf_counter()
            elif time.perf_counter() - started >= seconds:
                break
        spent = time.perf_counter() - started
    if count < 1:
        raise UserError(f"the reader gave {count + 1} batches; more photos are needed")
    return count * batch / spent


def ahead(batches: Batches, length: int = 2) -> Iterator[Batch]:
    """The same batches, fetched by a thread while the last one is used."""
    waiting: queue.Queue[Optional[Batch]] = queue.Queue(length)
    is_over = threading.Event()
    errors: list[BaseException] = []

    def fetch() -> None:
        try:
            for batch in batches:
                # arrays of a reader are used again once they are let go of
                waiting.put(batch)
                if is_over.is_set():
                    break
        except BaseException as error:
            errors.append(error)
        waiting.put(None)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        while (batch := waiting.get()) is not None:
            yield batch
    finally:
        is_over.set()
        while thread.is_alive():
            with contextlib.suppress(queue.Empty):
                waiting.get(timeout=0.05)
        thread.join()
        if hasattr(batches, "close"):
            batches.close()
    for error in errors:
        raise error


def thread_batches(
    detector: Detector, images: Sequence[Path], batch_size: int, threads: int
) -> Iterator[Batch]:
    """Batches that threads of this process decode and prepare, each a whole one at a time; OpenCV
    and NumPy compute without Python's lock."""
    paths = itertools.cycle(images)
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)

    def prepare(chosen: list[Path]) -> Batch:
        return stack_samples([detector.preprocess(decode_image(path)) for path in chosen])

    with ThreadPoolExecutor(threads) as pool:
        try:
            jobs = collections.deque(
                pool.submit(prepare, list(itertools.islice(paths, batch_size)))
                for _ in range(threads + 2)
            )
            while True:
                batch = jobs.popleft().result()
                jobs.append(pool.submit(prepare, list(itertools.islice(paths, batch_size))))
                yield batch
        finally:
            for job in jobs:
                job.cancel()
            cv2.setNumThreads(before)


def reader_of(
    detector: Detector, images: Sequence[Path], batch_size: int, workers: int
) -> TestReader:
    """A reader that prepares images as the exported network needs them, over and over."""
    steps: list[Transform] = [Decode()]
    for step in detector.files.config.preprocess:
        settings = {key: value for key, value in step.items() if key != "type"}
        steps.append(TRANSFORMS[step["type"]](**settings))
    return TestReader(
        sample_transforms=steps,
        batch_size=batch_size,
        worker_num=workers,
        dataset=RepeatedPhotos(images),
    )
