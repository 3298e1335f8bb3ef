"""From JPEG files to boxes without a pause: the reader's processes feed the engine."""

import itertools
import time
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

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
    """Images per second of the engine alone, of the reader alone, and of both together."""
    detector = open_detector(case, setup)
    note(runs_on=detector.engine.runs_on)
    sample = detector.preprocess(decode_image(setup.images[0]))
    batch = stack_samples([sample] * case.batch)
    for _ in range(setup.warmup):
        detector.engine.run(batch)
    engine = rate(itertools.repeat(batch), case.batch, setup.seconds, detector)
    note(engine_images_per_s=engine, reader_processes=setup.threads)
    reader = reader_of(detector, setup.images, case.batch, setup.threads)
    note(reader_images_per_s=rate(iter(reader), case.batch, setup.seconds))
    together = rate(iter(reader), case.batch, setup.seconds, detector)
    note(images_per_s=together, share_of_engine=together / engine)


def rate(
    batches: Iterator[dict[str, Any]],
    batch: int,
    seconds: float,
    detector: Optional[Detector] = None,
) -> float:
    """Images per second, through the engine if there is one; the first batch is not counted, for
    processes start before it."""
    count, started = -1, 0.0
    for inputs in batches:
        if detector is not None:
            detector.engine.run({name: inputs[name] for name in detector.engine.input_names})
        count += 1
        if count == 0:
            started = time.perf_counter()
        elif time.perf_counter() - started >= seconds:
            break
    if hasattr(batches, "close"):
        batches.close()
    if count < 1:
        raise UserError(f"the reader gave {count + 1} batches; more photos are needed")
    return count * batch / (time.perf_counter() - started)


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
