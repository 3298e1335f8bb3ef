"""Streaming perception: accuracy and latency as one number (arXiv:2005.10420).

A stream shows a new frame every 1 / fps seconds, whether or not the detector is ready. The detector
takes the newest frame whenever it is free, and waits if it has seen that one. At the time of each
frame the world is compared with the last prediction that is finished: streaming AP is AP with the
detections that stand at the time of a frame in the place of those made from it. Where frames are
not there, none of them can be taken, and the time until the next one passes all the same.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Optional, Union

import numpy as np

from ppdet_lite.metrics.coco import COCOMetric
from ppdet_lite.metrics.metric import Truth

SAME = 1e-9
"""Times in seconds that are nearer than this are the same: 3 x (1 / 30) is no exact number."""


Frames = Union[int, Sequence[float]]
"""How many frames a stream has, or the number of each in units of 1 / fps, in rising order, where
some are not there."""


class Run(NamedTuple):
    """One run of the detector: the position of the frame that it took, begin and end in seconds."""

    frame: int
    begin: float
    end: float


class Staleness(NamedTuple):
    """How a stream fared.

    runs: frames that the detector took. unseen: frames at whose time nothing was finished yet.
    delay: mean age of the predictions that stood in units of 1 / fps, None if none ever did.
    """

    frames: int
    runs: int
    unseen: int
    delay: Optional[float]


def run_stream(frames: Frames, fps: float, latency_of: Callable[[int, int], float]) -> list[Run]:
    """The runs of a detector on a stream, whose frame number 0 is at time 0 and which ends 1 / fps
    after the last one.

    Args:
        latency_of: seconds of a run, from the position of its frame and its own number, both from
            0.
    """
    times = _times(frames, fps)
    runs: list[Run] = []
    time, newest = 0.0, -1
    while True:
        frame = max(bisect_right(times, time + SAME) - 1, newest + 1)
        if frame >= len(times) or time + SAME >= times[-1] + 1 / fps:
            return runs
        begin = max(time, times[frame])
        time = begin + latency_of(frame, len(runs))
        runs.append(Run(frame, begin, time))
        newest = frame


def standing_predictions(runs: Sequence[Run], frames: Frames, fps: float) -> list[Optional[int]]:
    """For the time of each frame the position of the frame of the last run that is finished then,
    None before the first is.
    """
    standing: list[Optional[int]] = []
    done = 0
    for time in _times(frames, fps):
        while done < len(runs) and runs[done].end <= time + SAME:
            done += 1
        standing.append(runs[done - 1].frame if done else None)
    return standing


def _times(frames: Frames, fps: float) -> list[float]:
    numbers = range(frames) if isinstance(frames, int) else frames
    return [number / fps for number in numbers]


def streaming_metric(
    truth: Truth,
    sequences: Sequence[Sequence[int]],
    detections: dict[int, np.ndarray],
    fps: float,
    latency_of: Callable[[int, int], float],
    numbers: Optional[Mapping[int, float]] = None,
) -> tuple[COCOMetric, Staleness]:
    """COCO's metric with the detections that stand at the time of each frame.

    Args:
        truth: the ground truth of all frames.
        sequences: image ids of the frames of each stream, in their order.
        detections: image id -> rows [M, 6] made from that frame: class, score, x1, y1, x2, y2.
        latency_of: seconds of a run, from the image id of its frame and its number in the stream.
        numbers: image id -> number of the frame in its stream; None: streams have all frames.
    """
    metric, none = COCOMetric(truth), np.zeros((0, 6), np.float32)
    delays: list[float] = []
    runs_of_all = unseen = frames_of_all = 0
    for ids in sequences:

        def latency(frame: int, number: int, ids: Sequence[int] = ids) -> float:
            return latency_of(ids[frame], number)

        frames = [numbers[i] for i in ids] if numbers else [float(i) for i in range(len(ids))]
        runs = run_stream(frames, fps, latency)
        standing = standing_predictions(runs, frames, fps)
        for frame, source in enumerate(standing):
            rows = none if source is None else detections[ids[source]]
            metric.update(np.array([ids[frame]]), rows, np.array([len(rows)]))
            if source is not None:
                delays.append(frames[frame] - frames[source])
        runs_of_all, frames_of_all = runs_of_all + len(runs), frames_of_all + len(ids)
        unseen += standing.count(None)
    delay = float(np.mean(delays)) if delays else None
    return metric, Staleness(frames_of_all, runs_of_all, unseen, delay)
