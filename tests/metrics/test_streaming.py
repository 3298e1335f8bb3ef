"""Streams by hand: which frames are run, which predictions stand, and the AP that comes of it."""

import numpy as np
import pytest

from ppdet_lite.metrics.coco import COCOMetric
from ppdet_lite.metrics.streaming import run_stream, standing_predictions, streaming_metric


def stream(milliseconds, frames=10, fps=10):
    """Frames run and standing predictions; 100 ms between frames."""
    values = milliseconds if isinstance(milliseconds, list) else [milliseconds]
    runs = run_stream(frames, fps, lambda frame, number: values[number % len(values)] / 1000)
    return [run.frame for run in runs], standing_predictions(runs, frames, fps)


def test_a_detector_without_latency_sees_the_world_as_it_is():
    assert stream(0) == (list(range(10)), list(range(10)))


def test_a_detector_faster_than_the_stream_is_one_frame_late():
    frames, standing = stream(40)
    assert frames == list(range(10))
    assert standing == [None, 0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_a_run_that_ends_with_the_next_frame_counts_for_it():
    for fps in (10, 30, 60, 29.97):  # not exact numbers in between
        frames, standing = stream(1000 / fps, fps=fps)
        assert frames == list(range(10))
        assert standing == [None, *range(9)]


def test_a_slow_detector_leaves_frames_out():
    # runs 0-250, 250-500 (frame 2), 500-750 (5), 750-1000 (7)
    frames, standing = stream(250)
    assert frames == [0, 2, 5, 7]
    assert standing == [None, None, None, 0, 0, 2, 2, 2, 5, 5]


def test_a_detector_that_is_done_early_waits_for_the_next_frame():
    # 0-150, then 150-310 (frame 1), 310-460 (3), 460-620 (4), 620-770 (6), 770-930 (7), 930 (9)
    frames, standing = stream([150, 160])
    assert frames == [0, 1, 3, 4, 6, 7, 9]
    assert standing == [None, None, 0, 0, 1, 3, 3, 4, 6, 6]
    # 0-50, waits until 100: 100-350 (frame 1), 350-400 (3), 400-650 (4), 650-700 (6), ...
    frames, standing = stream([50, 250])
    assert frames == [0, 1, 3, 4, 6, 7, 9]
    assert standing == [None, 0, 0, 0, 3, 3, 3, 6, 6, 6]


def test_a_detector_that_never_ends_finds_nothing():
    assert stream(5000) == ([0], [None] * 10)
    assert stream(1, frames=0) == ([], [])


def moving(frames, step, first_id=1):
    """Ground truth of a 20 x 20 object that moves `step` pixels per frame, and its detections."""
    truth = {"images": [], "annotations": [], "categories": [{"id": 5, "name": "car"}]}
    detections = {}
    for frame in range(frames):
        number, x = first_id + frame, float(step * frame)
        truth["images"].append({"id": number})
        box = [x, 0.0, 20.0, 20.0]
        truth["annotations"].append({"image_id": number, "category_id": 5, "bbox": box})
        detections[number] = np.float32([[0, 0.9, x, 0, x + 20, 20]])
    return truth, detections


def result(truth, detections, milliseconds, sequences=None, fps=10):
    ids = sequences or [sorted(detections)]
    return streaming_metric(truth, ids, detections, fps, lambda *_: milliseconds / 1000)


def test_streaming_ap_of_an_object_that_stands_still():
    truth, detections = moving(5, step=0)
    metric, staleness = result(truth, detections, 100)
    # four of five found: recall 0.8, precision 1 up to there; 81 of 101 points
    assert metric.results()["bbox/AP"] == pytest.approx(81 / 101)
    assert staleness == (5, 5, 1, 1.0)
    metric, staleness = result(truth, detections, 0)
    assert metric.results()["bbox/AP"] == pytest.approx(1) and staleness.unseen == 0


def test_streaming_ap_of_an_object_that_moves():
    # A frame late the boxes overlap by (20 - 4) / (20 + 4) = 2/3: right for IoU 0.50 to 0.65.
    truth, detections = moving(5, step=4)
    metric, _ = result(truth, detections, 100)
    values = metric.results()
    assert values["bbox/AP50"] == pytest.approx(81 / 101)
    assert values["bbox/AP75"] == 0
    assert values["bbox/AP"] == pytest.approx(0.4 * 81 / 101)
    offline = COCOMetric(truth)
    for number, rows in detections.items():
        offline.update(np.array([number]), rows, np.array([1]))
    assert offline.results()["bbox/AP"] == pytest.approx(1)


def test_two_frames_late_nothing_is_right():
    truth, detections = moving(6, step=8)  # (20 - 16) / (20 + 16)
    metric, staleness = result(truth, detections, 200)
    assert metric.results()["bbox/AP50"] == 0
    assert staleness.runs == 3 and staleness.delay == pytest.approx(2.5)


def test_every_sequence_begins_anew():
    truth, detections = moving(6, step=0)
    metric, staleness = result(truth, detections, 100, sequences=[[1, 2, 3], [4, 5, 6]])
    assert staleness == (6, 6, 2, 1.0)  # the first frame of each has no prediction
    assert metric.results()["bbox/AR1"] == pytest.approx(4 / 6)


def test_latencies_may_depend_on_the_frame():
    truth, detections = moving(4, step=0)
    by_id = {1: 0.35, 2: 0.01, 3: 0.01, 4: 0.01}
    _, staleness = streaming_metric(truth, [[1, 2, 3, 4]], detections, 10, lambda i, n: by_id[i])
    assert staleness.runs == 2 and staleness.unseen == 4 and staleness.delay is None


def test_frames_that_are_not_there_take_their_time():
    numbers = [0, 3, 6, 7]  # 300, 300 and 100 ms apart
    runs = run_stream(numbers, 10, lambda frame, number: 0.35)
    # 0-350 ms; 350 ms: the newest is 3 (300 ms), until 700; then 7 (700 ms), until 1050
    assert [(run.frame, round(1000 * run.begin)) for run in runs] == [(0, 0), (1, 350), (3, 700)]
    assert standing_predictions(runs, numbers, 10) == [None, None, 0, 1]
    # 40 ms: each one is run as it comes.
    runs = run_stream(numbers, 10, lambda frame, number: 0.04)
    assert [(run.frame, round(1000 * run.begin)) for run in runs] == [
        *((0, 0), (1, 300), (2, 600), (3, 700))
    ]
    assert standing_predictions(runs, numbers, 10) == [None, 0, 1, 2]


def test_age_counts_the_frames_that_are_not_there():
    truth, detections = moving(4, step=0)
    by_number = dict(zip([1, 2, 3, 4], [0, 3, 6, 9]))
    _, fast = streaming_metric(truth, [[1, 2, 3, 4]], detections, 10, lambda *_: 0.2, by_number)
    assert fast == (4, 4, 1, 3.0)
    # 0-650 (number 0), 650-1300 (number 6): only at 900 ms one stands, number 0.
    _, slow = streaming_metric(truth, [[1, 2, 3, 4]], detections, 10, lambda *_: 0.65, by_number)
    assert slow == (4, 2, 3, 9.0)
    # Without the numbers, or as many frames per second less, the same frames are 100 ms apart.
    _, dense = streaming_metric(truth, [[1, 2, 3, 4]], detections, 10, lambda *_: 0.2)
    assert dense == (4, 2, 2, 2.5)
