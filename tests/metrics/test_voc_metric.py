"""VOCMetric on cases computed by hand."""

import json

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.metrics.coco import COCOMetric
from ppdet_lite.metrics.voc import VOCMetric, average_precision

CATEGORIES = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]


def truth_of(*boxes, images=(0, 1)):
    """COCO dict of (image, class, x1, y1, x2, y2[, difficult])."""
    annotations = []
    for number, (image, label, x1, y1, x2, y2, *difficult) in enumerate(boxes, start=1):
        flag = int(bool(difficult and difficult[0]))
        annotations.append(
            {
                "id": number,
                "image_id": image,
                "category_id": label + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "difficult": flag,
                "ignore": flag,
            }
        )
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 99, "height": 99} for i in images],
        "annotations": annotations,
        "categories": CATEGORIES,
    }


def feed(metric, *rows, evaluated=None):
    """Updates a metric with (image, class, score, x1, y1, x2, y2)."""
    for image in evaluated or sorted({row[0] for row in rows}):
        found = np.array([row[1:] for row in rows if row[0] == image], np.float32).reshape(-1, 6)
        metric.update(np.array([image]), found, np.array([len(found)], np.int32))
    return metric


def test_average_precision_by_hand():
    """Four objects; in the order of scores: right, wrong, right, right.

    Precision 1, 1/2, 2/3, 3/4 at recall 1/4, 1/4, 2/4, 3/4.
    11 points: recall 0, .1, .2 -> 1; .3, .4, .5 -> 3/4; .6, .7 -> 3/4; .8, .9, 1 -> 0.
    Integral: (1 + 2/3 + 3/4) / 4.
    """
    scores = np.array([0.7, 0.9, 0.6, 0.8])
    is_right = np.array([True, True, True, False])
    eleven = average_precision(scores, is_right, 4, "11point")
    assert eleven == pytest.approx((3 * 1 + 5 * 0.75) / 11)
    integral = average_precision(scores, is_right, 4, "integral")
    assert integral == pytest.approx((1 + 2 / 3 + 3 / 4) / 4)
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3, "11point") == 0
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3, "integral") == 0


def test_recalls_of_tenths_reach_their_level():
    """Ten objects, all found: the k-th detection has a recall of exactly k/10."""
    is_right = np.array([True] * 3 + [False] * 3)
    value = average_precision(np.linspace(1, 0.5, 6), is_right, 10, "11point")
    assert value == pytest.approx(4 / 11)


def test_mean_over_classes_with_objects():
    truth = truth_of((0, 0, 0, 0, 20, 20), (1, 0, 0, 0, 20, 20))
    rows = [(0, 0, 0.9, 0, 0, 20, 20), (0, 1, 0.9, 50, 50, 70, 70)]
    metric = feed(VOCMetric(truth, classwise=True), *rows, evaluated=(0, 1))
    # Recall 1/2 with precision 1: levels 0 to .5 are 6 of 11. There are no cats to find.
    expected = {"bbox/mAP": 6 / 11, "bbox/AP/dog": 6 / 11, "bbox/AP/cat": -1}
    assert metric.results() == pytest.approx(expected)
    assert metric.primary == ("bbox/mAP", pytest.approx(6 / 11))
    lines = metric.table().splitlines()
    assert lines[:2] == ["VOC metric, 2 images", "mAP(0.50, 11point) = 54.55%"]
    assert lines[-3].split() == ["class", "objects", "found", "AP"]
    assert lines[-2].split() == ["dog", "2", "1", "0.545"]
    assert lines[-1].split() == ["cat", "0", "1", "-"]
    integral = feed(VOCMetric(truth, map_type="integral"), *rows, evaluated=(0, 1))
    assert integral.results() == {"bbox/mAP": pytest.approx(0.5)}


def test_the_last_pixel_belongs_to_the_box():
    """0..9 and 0..4 by 0..9: 50 of 100 pixels with the last one counted, 36 of 81 without; the
    threshold must be exceeded.
    """
    truth, row = truth_of((0, 0, 0, 0, 9, 9)), (0, 0, 0.9, 0, 0, 9, 4)
    assert feed(VOCMetric(truth), row).results()["bbox/mAP"] == 0
    just_below = VOCMetric(truth, overlap_thresh=0.499)
    assert feed(just_below, row).results()["bbox/mAP"] == pytest.approx(1)
    normalized = VOCMetric(truth, overlap_thresh=0.46, is_bbox_normalized=True)
    assert feed(normalized, row).results()["bbox/mAP"] == 0
    pixels = VOCMetric(truth, overlap_thresh=0.46)
    assert feed(pixels, row).results()["bbox/mAP"] == pytest.approx(1)


def test_an_object_is_taken_by_the_highest_score():
    truth = truth_of((0, 0, 0, 0, 20, 20), (0, 0, 50, 50, 70, 70))
    rows = [
        (0, 0, 0.5, 0, 0, 20, 20),  # repeats the next one, so it is wrong
        (0, 0, 0.9, 0, 0, 20, 18),
        (0, 0, 0.3, 50, 50, 70, 70),
    ]
    metric = feed(VOCMetric(truth, map_type="integral"), *rows)
    assert metric.results()["bbox/mAP"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_difficult_objects():
    """The dog and the difficult dog are both found, the latter twice and first."""
    truth = truth_of((0, 0, 0, 0, 20, 20), (0, 0, 50, 50, 70, 70, 1))
    rows = [
        (0, 0, 0.9, 50, 50, 70, 70),
        (0, 0, 0.8, 50, 50, 70, 70),
        (0, 0, 0.7, 0, 0, 20, 20),
    ]
    assert feed(VOCMetric(truth), *rows).results()["bbox/mAP"] == pytest.approx(1)
    counted = VOCMetric(truth, evaluate_difficult=True, map_type="integral")
    # Right, wrong, right of two objects.
    assert feed(counted, *rows).results()["bbox/mAP"] == pytest.approx((1 + 2 / 3) / 2)


def test_nothing_detected_evaluated_or_labeled(caplog):
    truth = truth_of((0, 0, 0, 0, 20, 20))
    nothing = feed(VOCMetric(truth), evaluated=(0, 1))
    assert nothing.results() == {"bbox/mAP": 0.0}
    assert nothing.table().endswith("nothing was detected: all numbers are 0")
    assert VOCMetric(truth).results() == {"bbox/mAP": 0.0}
    assert "no image was evaluated" in caplog.text
    unlabeled = feed(VOCMetric(truth_of()), (0, 0, 0.9, 0, 0, 20, 20))
    assert unlabeled.results() == {"bbox/mAP": 0.0}
    assert "the evaluated images have no labeled object" in unlabeled.table()


def test_only_evaluated_images_count():
    truth = truth_of((0, 0, 0, 0, 20, 20), (1, 0, 0, 0, 20, 20))
    one = feed(VOCMetric(truth), (0, 0, 0.9, 0, 0, 20, 20))
    assert one.results()["bbox/mAP"] == pytest.approx(1)
    with pytest.raises(ValueError, match=r"images \[9\] were evaluated but have no ground truth"):
        feed(VOCMetric(truth), (9, 0, 0.9, 0, 0, 20, 20)).results()


def test_unknown_map_type():
    with pytest.raises(ConfigError, match="map_type: found '11points', allowed: '11point'"):
        VOCMetric(truth_of(), map_type="11points")


def test_results_file(tmp_path):
    metric = feed(VOCMetric(truth_of()), (1, 1, 0.5, 10, 20, 30, 60))
    metric.save_json(tmp_path / "bbox.json")
    expected = {"image_id": 1, "category_id": 2, "bbox": [10, 20, 20, 40], "score": 0.5}
    assert json.loads((tmp_path / "bbox.json").read_text()) == [expected]


@pytest.mark.parametrize("seed", range(3))
def test_close_to_the_coco_metric(seed):
    """With 101 instead of 11 points and no +1, AP at IoU 0.5 must agree up to the sampling, also
    with difficult objects.
    """
    rng = np.random.default_rng(seed)
    boxes, rows = [], []
    for image in range(60):
        for _ in range(rng.integers(1, 5)):
            x, y, w, h = *rng.uniform(0, 300, 2), *rng.uniform(20, 80, 2)
            label = int(rng.integers(2))
            boxes.append((image, label, x, y, x + w, y + h, rng.random() < 0.1))
            if rng.random() < 0.8:
                shift = rng.normal(0, 4, 4)
                rows.append((image, label, rng.random(), *(np.array(boxes[-1][2:6]) + shift)))
            if rng.random() < 0.4:
                rows.append((image, label, 0.7 * rng.random(), x + 300, y, x + 300 + w, y + h))
    truth = truth_of(*boxes, images=range(60))
    voc = feed(VOCMetric(truth, is_bbox_normalized=True), *rows, evaluated=range(60)).results()
    coco = feed(COCOMetric(truth), *rows, evaluated=range(60)).results()
    assert 0.3 < coco["bbox/AP50"] < 0.9
    assert voc["bbox/mAP"] == pytest.approx(coco["bbox/AP50"], abs=0.05)


def test_bccd_detected_perfectly(shared_dir):
    from ppdet_lite.data.sources.voc import VOCDataSet

    folder = shared_dir / "data" / "bccd"
    dataset = VOCDataSet(str(folder), anno_path="ImageSets/Main/val.txt")
    metrics = [
        VOCMetric(dataset),
        COCOMetric(dataset),
    ]
    for index in range(len(dataset)):
        sample = dataset.record(index)
        scores = np.full((len(sample["gt_class"]), 1), 0.9)
        rows = np.hstack([sample["gt_class"], scores, sample["gt_bbox"]])
        for metric in metrics:
            metric.update(sample["im_id"], rows, np.array([len(rows)]))
    assert metrics[0].results()["bbox/mAP"] == pytest.approx(1, abs=0.01)
    assert metrics[1].results()["bbox/AP"] == pytest.approx(1, abs=0.01)
