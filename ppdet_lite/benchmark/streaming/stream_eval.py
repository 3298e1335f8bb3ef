"""Streaming AP of an exported model beside its AP and latency, behind `ppdet stream-eval`.

The detector runs once on every frame, which gives its detections and the time of each run. What a
stream would have shown is then computed, so one pass serves any number of devices of which only the
latencies are known.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Protocol

import numpy as np

from ppdet_lite.benchmark.streaming.latency_table import Latencies
from ppdet_lite.benchmark.tables import aligned_table, decimals, percent
from ppdet_lite.core.errors import DataError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.data.sources.coco import COCODataSet
from ppdet_lite.data.sources.sequences import find_image_dir, read_frames, with_file_names
from ppdet_lite.metrics.coco import COCOMetric
from ppdet_lite.metrics.streaming import Staleness, streaming_metric
from ppdet_lite.utils.logger import get_logger

WARMUP = 3
MEASURED = "measured here"
_SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class StreamDetector(Protocol):
    """The part of `runtime.detector.Detector` that is needed."""

    @property
    def class_names(self) -> Sequence[str]: ...

    def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]: ...


class StreamResult(NamedTuple):
    """Streaming AP for one device; latencies in milliseconds, metrics 0 to 1 by COCO's names."""

    device: str
    mean_ms: float
    p95_ms: float
    staleness: Staleness
    metrics: dict[str, float]


class StreamReport(NamedTuple):
    """AP without regard to time, and streaming AP for every device."""

    fps: float
    offline: dict[str, float]
    results: list[StreamResult]

    def table(self) -> str:
        """The report for a terminal."""
        times = ("device", "mean ms", "95 % ms", "frames run", "behind")
        offline = self.offline["bbox/AP"]
        rows = [
            (
                result.device,
                decimals(result.mean_ms, 1),
                decimals(result.p95_ms, 1),
                percent(result.staleness.runs, result.staleness.frames),
                decimals(result.staleness.delay),
                decimals(100 * offline, 1),
                decimals(100 * result.metrics["bbox/AP"], 1),
                decimals(100 * result.metrics["bbox/AP50"], 1),
                decimals(100 * (offline - result.metrics["bbox/AP"]), 1),
            )
            for result in self.results
        ]
        frames = self.results[0].staleness.frames
        lines = aligned_table((*times, "AP", "sAP", "sAP50", "lost"), rows)
        title = f"{frames} frames at {self.fps:g} frames/s"
        about = "behind: mean age in frames of the boxes that stand; lost: AP - sAP in points"
        return "\n".join([title, *lines, about])

    def as_dict(self) -> dict[str, Any]:
        """The report for a JSON file."""
        return {
            "fps": self.fps,
            "offline": {name: self.offline[f"bbox/{name}"] for name in _SHOWN},
            "devices": [
                {
                    "device": result.device,
                    "mean_ms": result.mean_ms,
                    "p95_ms": result.p95_ms,
                    **result.staleness._asdict(),
                    "streaming": {name: result.metrics[f"bbox/{name}"] for name in _SHOWN},
                }
                for result in self.results
            ],
        }


def evaluate_stream(
    detector: StreamDetector,
    annotations: Path,
    image_dir: Optional[Path],
    fps: float,
    devices: Sequence[Latencies] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> StreamReport:
    """Runs the detector on every frame and scores the streams.

    Args:
        annotations: COCO annotations; see `read_frames` for the frames; number n is at n / fps
            seconds.
        image_dir: folder of the frames; None looks for it near the annotations.
        devices: latencies to compute with; none takes those that `clock` measures. A run is
            everything from the decoded frame to the boxes.

    Raises:
        DataError: a file that cannot be used, or classes that the detector does not know.
    """
    folder = image_dir or find_image_dir(annotations)
    with with_file_names(annotations) as named:
        dataset = COCODataSet(image_dir=str(folder), anno_path=str(named))
    frames = read_frames(annotations)
    places = class_places(detector, dataset)
    paths = {}
    for index in range(len(dataset)):
        record = dataset.record(index)
        paths[int(record["im_id"].reshape(-1)[0])] = record["im_file"]
    sequences = [[each.image_id for each in row if each.image_id in paths] for row in frames]
    numbers = {each.image_id: each.number for row in frames for each in row}
    _tell_gaps(annotations, [[numbers[i] for i in ids] for ids in sequences])
    detections, seconds = _run(detector, sequences, paths, places, clock)
    offline = COCOMetric(dataset)
    for number, rows in detections.items():
        offline.update(np.array([number]), rows, np.array([len(rows)]))
    truth, results = dataset.to_coco(), []
    for device in devices or [Latencies(MEASURED, [1000 * value for value in seconds.values()])]:
        if device.name == MEASURED:
            latency_of = _measured(seconds)
        else:
            latency_of = device.seconds_of_run
        metric, staleness = streaming_metric(truth, sequences, detections, fps, latency_of, numbers)
        mean, late = float(np.mean(device.milliseconds)), np.percentile(device.milliseconds, 95)
        results.append(StreamResult(device.name, mean, float(late), staleness, metric.results()))
    return StreamReport(fps, offline.results(), results)


def _tell_gaps(path: Path, numbers: Sequence[Sequence[float]]) -> None:
    gaps = [later - earlier for row in numbers for earlier, later in zip(row, row[1:])]
    wide = [gap for gap in gaps if gap > 1]
    if wide:
        text = "%s: frames are up to %g apart (%d of %d times): their time passes with none to run"
        get_logger().info(text, path, max(wide), len(wide), len(gaps))


def _measured(seconds: dict[int, float]) -> Callable[[int, int], float]:
    return lambda image_id, number: seconds[image_id]


def class_places(detector: StreamDetector, dataset: COCODataSet) -> np.ndarray:
    """The class index in the annotations of each class of the detector, -1 for none: by name, where
    blanks and underscores are equal, or by position where no name is known and the counts agree.
    """
    names = [_plain(name) for name in dataset.class_names]
    known = [_plain(name) for name in detector.class_names]
    places = np.array([names.index(name) if name in names else -1 for name in known])
    if (places < 0).all():
        if len(names) != len(known):
            raise DataError(
                f"{dataset.name}: found none of the detector's classes {list(known)[:5]}, allowed: "
                "annotations of some of them"
            )
        places = np.arange(len(known))
    missing = [name for i, name in enumerate(dataset.class_names) if i not in places]
    if missing:
        get_logger().warning("%s: the detector does not know %s", dataset.name, ", ".join(missing))
    return places


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").strip()


def _run(
    detector: StreamDetector,
    sequences: Sequence[Sequence[int]],
    paths: dict[int, str],
    places: np.ndarray,
    clock: Callable[[], float],
) -> tuple[dict[int, np.ndarray], dict[int, float]]:
    """Detections and seconds of the run, by image id."""
    detections, seconds = {}, {}
    is_warm = False
    for ids in sequences:
        for number in ids:
            image = decode_image(paths[number])
            for _ in range(0 if is_warm else WARMUP):
                detector.predict([image])
            is_warm = True
            begin = clock()
            rows = detector.predict([image])[0]
            seconds[number] = clock() - begin
            classes = places[rows[:, 0].astype(int)]
            rows = np.column_stack([classes, rows[:, 1:]]).astype(np.float32)
            detections[number] = rows[classes >= 0]
    return detections, seconds
