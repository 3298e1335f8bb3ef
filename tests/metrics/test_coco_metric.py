"""COCOMetric on cases small enough to compute by hand, and against pycocotools used directly."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppdet_lite.core.errors import DataError
from ppdet_lite.metrics.coco import STATISTICS, COCOMetric

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]


def truth_of(*boxes, images=(1, 2)):
    """COCO dict of (image, category, x, y, w, h) or the same with a dict of further fields."""
    annotations = []
    for number, (image, category, x, y, w, h, *more) in enumerate(boxes):
        item = {"id": number, "image_id": image, "category_id": category, "bbox": [x, y, w, h]}
        annotations.append({**item, "area": w * h, "iscrowd": 0, **(more[0] if more else {})})
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 99, "height": 99} for i in images],
        "annotations": annotations,
        "categories": CATEGORIES,
    }


def metric_of(truth, *rows, evaluated=None, **options):
    """A metric that has seen (image, class, score, x1, y1, x2, y2)."""
    metric = COCOMetric(truth, **options)
    for image in evaluated or sorted({row[0] for row in rows}):
        found = np.array([row[1:] for row in rows if row[0] == image], np.float32).reshape(-1, 6)
        metric.update(np.array([image]), found, np.array([len(found)], np.int32))
    return metric


def test_a_perfect_result():
    truth = truth_of((1, 7, 10, 10, 20, 20), (2, 3, 0, 0, 40, 50))
    metric = metric_of(truth, (1, 0, 0.9, 10, 10, 30, 30), (2, 1, 0.8, 0, 0, 40, 50))
    results = metric.results()
    assert list(results) == [f"bbox/{name}" for name, _ in STATISTICS]
    assert results["bbox/AP"] == pytest.approx(1)
    assert results["bbox/APs"] == pytest.approx(1)  # 20 x 20
    assert results["bbox/APm"] == pytest.approx(1)  # 40 x 50
    assert results["bbox/APl"] == -1  # there is none
    assert metric.primary == ("bbox/AP", results["bbox/AP"])


def test_one_of_two_objects_and_a_false_alarm():
    """Two dogs; the best detection is wrong, the second right, one dog is missed: recall stops at
    1/2, where the precision is 1/2. Of the 101 recall levels 51 (0 to 0.5) have it.
    """
    truth = truth_of((1, 7, 0, 0, 20, 20), (1, 7, 50, 50, 20, 20))
    rows = [(1, 0, 0.9, 70, 0, 90, 20), (1, 0, 0.8, 0, 0, 20, 20)]
    results = metric_of(truth, *rows).results()
    assert results["bbox/AP50"] == pytest.approx(0.5 * 51 / 101)
    assert results["bbox/AP"] == pytest.approx(0.5 * 51 / 101)
    assert results["bbox/AR1"] == 0  # only the wrong one
    assert results["bbox/AR10"] == pytest.approx(0.5)


def test_overlap_thresholds():
    """IoU 16 x 20 / 20 x 20 = 0.8: right at 0.50, 0.55, ... 0.80, which are 7 of 10 thresholds."""
    truth = truth_of((1, 7, 0, 0, 20, 20))
    results = metric_of(truth, (1, 0, 0.9, 0, 0, 16, 20)).results()
    assert results["bbox/AP50"] == pytest.approx(1)
    assert results["bbox/AP"] == pytest.approx(0.7)


def test_bias_adds_a_pixel():
    """Seen as last pixels, 0..18 is a box of 19; with bias 1 it is the labeled one."""
    truth = truth_of((1, 7, 0, 0, 19, 19))
    row = (1, 0, 0.9, 0, 0, 18, 18)
    assert metric_of(truth, row, bias=1).results()["bbox/AP"] == pytest.approx(1)
    # (18 / 19)^2 = 0.8975: right at all thresholds but 0.90 and 0.95.
    assert metric_of(truth, row).results()["bbox/AP"] == pytest.approx(0.8)


def test_an_annotation_with_id_zero_counts():
    truth = truth_of((1, 7, 0, 0, 20, 20))
    assert truth["annotations"][0]["id"] == 0
    assert metric_of(truth, (1, 0, 0.9, 0, 0, 20, 20)).results()["bbox/AP"] == pytest.approx(1)


def test_crowds_and_ignored_objects_neither_help_nor_harm():
    plain, rows = (1, 7, 0, 0, 20, 20), [(1, 0, 0.8, 0, 0, 20, 20)]
    for flag in ("iscrowd", "ignore"):
        truth = truth_of(plain, (1, 7, 50, 50, 30, 30, {flag: 1}))
        on_it = (1, 0, 0.9, 50, 50, 80, 80)
        assert metric_of(truth, *rows, on_it).results()["bbox/AP50"] == pytest.approx(1)
        assert metric_of(truth, *rows).results()["bbox/AP50"] == pytest.approx(1)
    # A crowd takes any number of detections, an ignored object one.
    inside = [(1, 0, 0.9, 50, 50, 60, 60), (1, 0, 0.95, 60, 60, 70, 70)]
    crowd = truth_of(plain, (1, 7, 50, 50, 30, 30, {"iscrowd": 1}))
    assert metric_of(crowd, *rows, *inside).results()["bbox/AP50"] == pytest.approx(1)


def test_only_evaluated_images_count():
    truth = truth_of((1, 7, 0, 0, 20, 20), (2, 7, 0, 0, 20, 20))
    row = (1, 0, 0.9, 0, 0, 20, 20)
    assert metric_of(truth, row).results()["bbox/AP"] == pytest.approx(1)
    # Image 2 was evaluated and nothing found: recall 1/2 with precision 1 up to there.
    assert metric_of(truth, row, evaluated=(1, 2)).results()["bbox/AP"] == pytest.approx(51 / 101)


def test_nothing_detected(caplog):
    metric = metric_of(truth_of((1, 7, 0, 0, 20, 20)), evaluated=(1, 2))
    results = metric.results()
    assert results["bbox/AP"] == 0 and results["bbox/AR100"] == 0
    assert "nothing was detected: all numbers are 0" in caplog.text
    assert metric.table().endswith("nothing was detected: all numbers are 0")


def test_nothing_evaluated(caplog):
    metric = COCOMetric(truth_of((1, 7, 0, 0, 20, 20)), classwise=True)
    metric.update(np.zeros(0, np.int64), np.zeros((0, 6), np.float32), np.zeros(0, np.int32))
    assert set(metric.results().values()) == {0.0}
    assert metric.primary == ("bbox/AP", 0.0)
    assert "no image was evaluated: all numbers are 0" in metric.table()


def test_nothing_labeled(caplog):
    metric = metric_of(truth_of(), (1, 0, 0.9, 0, 0, 20, 20), classwise=True)
    assert metric.results()["bbox/AP"] == -1
    assert "the evaluated images have no labeled object" in metric.table()
    assert f"{caplog.text}{metric.summary()}".count("no labeled object") == 1  # on the terminal


def test_per_class_table_and_values():
    truth = truth_of((1, 7, 0, 0, 20, 20), (2, 7, 0, 0, 20, 20))
    metric = metric_of(truth, (1, 0, 0.9, 0, 0, 20, 20), evaluated=(1, 2), classwise=True)
    results = metric.results()
    assert results["bbox/AP/dog"] == pytest.approx(51 / 101) and results["bbox/AP/cat"] == -1
    lines = metric.table().splitlines()
    assert lines[0] == "COCO metric, 2 images"
    assert lines[1].split() == ["AP,", "IoU", "0.50:0.95", "0.505"]
    assert lines[-3].split() == ["class", "objects", "AP", "AP50", "AR100"]
    assert lines[-2].split() == ["dog", "2", "0.505", "0.505", "0.500"]
    assert lines[-1].split() == ["cat", "0", "-", "-", "-"]
    assert len(set(map(len, lines[-3:]))) == 1  # columns are aligned
    assert "class" not in metric_of(truth, (1, 0, 0.9, 0, 0, 20, 20)).table()
    summary = metric.summary().splitlines()
    assert summary[0] == "COCO metric, 2 images: AP 0.505  AP50 0.505  AP75 0.505"
    assert summary[1] == "AP by size: small 0.505  medium -  large -"
    assert summary[2:] == ["", *lines[-3:]]


LIBRARIES = ["pycocotools", "faster-coco-eval"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_libraries_print_nothing(capsys, library):
    if library == "faster-coco-eval":
        pytest.importorskip("faster_coco_eval")
    truth = truth_of((1, 7, 0, 0, 20, 20))
    metric_of(truth, (1, 0, 0.9, 0, 0, 20, 20), library=library).results()
    assert capsys.readouterr().out == ""


def crowded_case(rng):
    """Truth and detections with crowds, ignored and unusual boxes, equal scores, too many boxes,
    a class that nothing has and one that nothing finds, images without either.
    """
    categories = [{"id": 90 - 7 * k, "name": f"c{k}"} for k in range(6)]
    boxes, rows = [], []
    for image in range(1, 41):
        for _ in range(rng.integers(0, 12)):
            x, y, w, h = rng.uniform(0, 400, 2).tolist() + rng.uniform(3, 200, 2).tolist()
            index = int(rng.integers(0, 5))
            more = {"iscrowd": int(rng.random() < 0.1), "ignore": int(rng.random() < 0.1)}
            boxes.append((image, categories[index]["id"], x, y, w, h, more))
            for _ in range(rng.integers(0, 4) if index != 4 else 0):
                near = np.array([x, y, x + w, y + h]) + rng.normal(0, 0.1, 4) * [w, h, w, h]
                rows.append((image, index, round(rng.random(), 1), *near))
        count = 150 if image == 3 else rng.integers(0, 5)
        for corner in rng.uniform(0, 400, (count, 2)):
            rows.append((image, int(rng.integers(0, 4)), rng.random(), *corner, *(corner + 50)))
    truth = {**truth_of(*boxes, images=range(1, 41)), "categories": categories}
    return truth, rows


@pytest.mark.parametrize("seed", range(4))
def test_both_libraries_and_portions_of_classes_give_the_same_numbers(seed):
    pytest.importorskip("faster_coco_eval")
    truth, rows = crowded_case(np.random.default_rng(seed))
    if seed == 3:
        rows = [row for row in rows if row[1] == 2]  # of one class only

    class InPortions(COCOMetric):
        most_detections = 40

    found = []
    for kind, library in (
        (COCOMetric, LIBRARIES[0]),
        *((k, LIBRARIES[1]) for k in (COCOMetric, InPortions)),
    ):
        metric = kind(truth, classwise=True, library=library)
        for image in range(1, 41):
            mine = np.array([row[1:] for row in rows if row[0] == image], np.float32).reshape(-1, 6)
            metric.update(np.array([image]), mine, np.array([len(mine)], np.int32))
        found.append(metric.results())
    assert 0 < found[0]["bbox/AP"] < 1 and found[0]["bbox/AP/c5"] == -1
    for others in found[1:]:
        assert list(others) == list(found[0])
        np.testing.assert_allclose([*others.values()], [*found[0].values()], rtol=0, atol=1e-9)


def test_batches_padding_and_reset():
    truth = truth_of((1, 7, 0, 0, 20, 20), (2, 3, 5, 5, 20, 20))
    metric = COCOMetric(truth)
    rows = np.array([[0, 0.9, 0, 0, 20, 20], [1, 0.7, 5, 5, 25, 25]], np.float32)
    metric.update(np.array([[1], [2]]), rows, np.array([1, 1]))
    metric.update(np.array([2]), rows[1:], np.array([1]))  # the same image again
    metric.update(np.array([2]), np.array([[-1.0]]).repeat(6, axis=1), np.array([1]))
    assert len(metric.arrays()[0]) == 2
    assert metric.results()["bbox/AP"] == pytest.approx(1)
    metric.reset()
    assert metric.results()["bbox/AP"] == 0


def test_unusable_detections():
    metric = COCOMetric(truth_of((1, 7, 0, 0, 20, 20)))
    row = np.array([[0, 0.9, 0, 0, 20, 20]], np.float32)
    with pytest.raises(ValueError, match=r"1 image ids, bbox_num \[2\], 1 detections"):
        metric.update(np.array([1]), row, np.array([2]))
    with pytest.raises(ValueError, match="class 2 detected, but 2 classes exist"):
        metric.update(np.array([1]), row + [2, 0, 0, 0, 0, 0], np.array([1]))
    for number, what in ((-2, "class -2"), (0.5, "class 0.5"), (2, "class 2")):
        with pytest.raises(ValueError, match=f"{what} detected, but 2 classes exist"):
            metric.update(np.array([1]), row + [number, 0, 0, 0, 0, 0], np.array([1]))
    for place in range(6):
        for value in (np.nan, np.inf, -np.inf):
            bad = np.where(np.arange(6) == place, value, row)
            with pytest.raises(ValueError, match=r"NaN or infinite numbers, images \[1\]"):
                metric.update(np.array([1]), bad, np.array([1]))
    # Nothing of a refused batch was taken: its images can still come.
    metric.update(np.array([1]), row, np.array([1]))
    assert metric.results()["bbox/AP"] == pytest.approx(1)
    metric.update(np.array([5]), row, np.array([1]))
    with pytest.raises(ValueError, match=r"images \[5\] were evaluated but have no ground truth"):
        metric.results()


def test_an_image_repeated_in_its_batch_counts_once():
    metric = COCOMetric(truth_of((1, 7, 0, 0, 20, 20)))
    rows = np.array([[0, 0.9, 0, 0, 20, 20]] * 3, np.float32)
    metric.update(np.array([1, 2, 1]), rows, np.array([1, 1, 1]))
    owners, found = metric.arrays()
    assert owners.tolist() == [1, 2] and len(found) == 2


def test_numbers_are_computed_again_after_an_update():
    metric = metric_of(truth_of((1, 7, 0, 0, 20, 20), (2, 7, 0, 0, 20, 20)), evaluated=(1,))
    assert metric.results()["bbox/AP"] == 0
    metric.update(np.array([2]), np.float32([[0, 0.9, 0, 0, 20, 20]]), np.array([1]))
    assert metric.primary[1] == pytest.approx(51 / 101)
    assert metric.table().startswith("COCO metric, 2 images") and "nothing" not in metric.table()


def test_input_arrays_may_be_reused():
    metric = COCOMetric(truth_of((1, 7, 0, 0, 20, 20)))
    rows = np.array([[0, 0.9, 0, 0, 20, 20]], np.float32)
    metric.update(np.array([1]), rows, np.array([1]))
    rows[:] = 0
    assert metric.results()["bbox/AP"] == pytest.approx(1)


def test_results_file(tmp_path):
    row = (2, 1, 0.123456789, 10.25, 20.5, 30.75, 60.125)
    truth = truth_of((2, 3, 10, 20, 20, 40))
    metric_of(truth, row, bias=1).save_json(tmp_path / "bbox.json")
    assert json.loads((tmp_path / "bbox.json").read_text()) == [
        {
            "image_id": 2,
            "category_id": 3,
            "bbox": [10.25, 20.5, 21.5, 40.625],
            "score": pytest.approx(0.12345679, abs=1e-8),
        }
    ]
    COCOMetric(truth).save_json(tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bbox.json", "none.json"]
    with pytest.raises(DataError, match="x.json: cannot be written"):
        COCOMetric(truth).save_json(tmp_path / "bbox.json" / "x.json")


def random_case(seed, images=12):
    """Ground truth and detections around it; two classes, crowds, all sizes."""
    rng = np.random.default_rng(seed)
    boxes, rows = [], []
    for image in range(1, images + 1):
        for _ in range(rng.integers(0, 6)):
            label = int(rng.integers(2))
            x, y, w, h = *rng.uniform(0, 150, 2), *rng.uniform(8, 140, 2)
            crowd = {"iscrowd": int(rng.random() < 0.1)}
            boxes.append((image, CATEGORIES[label]["id"], x, y, w, h, crowd))
            for _ in range(rng.integers(0, 3)):
                dx, dy, dw, dh = rng.normal(0, 5, 4)
                found = label if rng.random() < 0.8 else 1 - label
                corners = (x + dx, y + dy, max(x + w + dw, x + dx + 1), max(y + h + dh, y + dy + 1))
                rows.append((image, found, rng.random(), *corners))
    return truth_of(*boxes, images=range(1, images + 1)), rows


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_pycocotools(tmp_path, seed):
    truth, rows = random_case(seed)
    for item in truth["annotations"]:
        item["id"] += 1
    metric = metric_of(truth, *rows, evaluated=range(1, 13))
    metric.save_json(tmp_path / "bbox.json")
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    reference = COCO(str(tmp_path / "truth.json"))
    evaluation = COCOeval(reference, reference.loadRes(str(tmp_path / "bbox.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    expected = evaluation.stats
    assert 0.05 < expected[0] < 0.95
    np.testing.assert_allclose(list(metric.results().values()), expected, atol=1e-9)


def test_a_data_set_as_ground_truth(tiny_coco):
    from ppdet_lite.data.sources.coco import COCODataSet

    dataset = COCODataSet(str(tiny_coco), "images", "annotations/val.json")
    metric = COCOMetric(dataset)
    for index in range(len(dataset)):
        sample = dataset.record(index)
        scores = np.full((len(sample["gt_class"]), 1), 0.9)
        rows = np.hstack([sample["gt_class"], scores, sample["gt_bbox"]])
        metric.update(sample["im_id"], rows, np.array([len(rows)]))
    assert metric.results()["bbox/AP"] == pytest.approx(1)


def test_coco128_detected_perfectly(shared_dir):
    from ppdet_lite.data.sources.coco import COCODataSet

    folder = shared_dir / "data" / "coco128"
    dataset = COCODataSet(str(folder), "train2017", "annotations/instances_train2017.json")
    metric = COCOMetric(dataset, classwise=True)
    for index in range(len(dataset)):
        sample = dataset.record(index)
        scores = np.full((len(sample["gt_class"]), 1), 0.9)
        rows = np.hstack([sample["gt_class"], scores, sample["gt_bbox"]])
        metric.update(sample["im_id"], rows, np.array([len(rows)]))
    results = metric.results()
    assert results["bbox/AP"] == pytest.approx(1, abs=0.01)
    assert results["bbox/AP/person"] == pytest.approx(1, abs=0.01)
