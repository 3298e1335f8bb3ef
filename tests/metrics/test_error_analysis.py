"""Matches, curves, error types and confusion: by hand, and AP beside pycocotools."""

import numpy as np
import pytest

from ppdet_lite.metrics.analysis.box_tables import Boxes
from ppdet_lite.metrics.analysis.confusion import confusion_matrix
from ppdet_lite.metrics.analysis.error_types import KINDS, error_costs, find_errors
from ppdet_lite.metrics.analysis.matching import RANGES, average_precisions, match
from ppdet_lite.metrics.analysis.score_curves import best_thresholds, score_curves
from ppdet_lite.metrics.analysis.suspects import label_suspects
from ppdet_lite.metrics.coco import COCOMetric

CAT, DOG = 3, 8


def made(labels, found, images=1):
    """Boxes of `(image, category, x, y, width, height)`, for detections with a score at the end."""
    truth = {
        "images": [{"id": 10 + i, "file_name": f"{i}.jpg"} for i in range(images)],
        "annotations": [
            {"image_id": 10 + image, "category_id": category, "bbox": box, "area": box[2] * box[3]}
            for image, category, *box in labels
        ],
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
    }
    results = [
        {"image_id": 10 + image, "category_id": category, "bbox": box, "score": score}
        for image, category, *box, score in found
    ]
    return Boxes.of_coco(truth, results)


SQUARE = (0, 0, 100, 100)
ONE_OF_EACH = {
    "classification": [(0, DOG, 0, 0, 100, 90, 0.9)],
    "localization": [(0, CAT, 0, 0, 100, 40, 0.9)],
    "both": [(0, DOG, 0, 0, 100, 40, 0.9)],
    "duplicate": [(0, CAT, *SQUARE, 0.9), (0, CAT, 0, 0, 100, 90, 0.8)],
    "background": [(0, CAT, 0, 0, 10, 10, 0.9)],
    "missed": [],
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_error_of_each_kind(kind):
    boxes = made([(0, CAT, *SQUARE)], ONE_OF_EACH[kind])
    errors = find_errors(boxes, match(boxes))
    counts = dict(zip(KINDS, errors.counts()))
    expected = dict.fromkeys(KINDS, 0) | {kind: 1}
    if kind in ("both", "background"):
        expected["missed"] = 1  # the label has no detection either
    assert counts == expected


@pytest.mark.parametrize(
    "kind, before, after",
    [
        ("classification", 0.0, 1.0),  # becomes the label's
        ("localization", 0.0, 1.0),
        ("both", 0.0, 0.0),
        ("duplicate", 1.0, 1.0),  # all is found before it
        ("background", 0.0, 0.0),
        ("missed", 0.0, 0.0),  # a class without labels to find has no AP
    ],
)
def test_cost_of_one_error(kind, before, after):
    boxes = made([(0, CAT, *SQUARE)], ONE_OF_EACH[kind])
    matches = match(boxes)
    base, costs = error_costs(boxes, matches, find_errors(boxes, matches))
    assert base == pytest.approx(before)
    assert costs[KINDS.index(kind)] == pytest.approx(after - before)


def test_costs_by_hand():
    """Two cats, one found after a detection of background: precision 1/2 up to recall 1/2, which 51
    of the 101 recalls reach. Without that detection it is 1 up to there; without the missed cat 1/2
    everywhere.
    """
    labels = [(0, CAT, *SQUARE), (0, CAT, 500, 500, 100, 100)]
    boxes = made(labels, [(0, CAT, 300, 0, 50, 50, 0.9), (0, CAT, *SQUARE, 0.8)])
    matches = match(boxes)
    errors = find_errors(boxes, matches)
    base, costs = error_costs(boxes, matches, errors)
    assert base == pytest.approx(51 / 101 / 2)
    by_kind = dict(zip(KINDS, costs))
    assert by_kind["background"] == pytest.approx(51 / 101 / 2)
    assert by_kind["missed"] == pytest.approx(1 / 2 - 51 / 101 / 2)
    others = [by_kind[kind] for kind in ("classification", "localization", "both", "duplicate")]
    assert others == [0, 0, 0, 0]


def test_only_the_best_of_several_errors_becomes_the_label():
    """Two boxes that are too small for one cat: one becomes right, the other vanishes."""
    found = [(0, CAT, 0, 0, 100, 45, 0.9), (0, CAT, 0, 55, 100, 45, 0.8)]
    boxes = made([(0, CAT, *SQUARE)], found)
    matches = match(boxes)
    errors = find_errors(boxes, matches)
    assert errors.targets.tolist() == [0, 0] and errors.overlaps == pytest.approx([0.45, 0.45])
    assert error_costs(boxes, matches, errors)[1] == pytest.approx([0, 1, 0, 0, 0, 0])


TIDECV_COUNTS = [22, 57, 15, 24, 0, 1]
TIDECV_AP50 = 31.464809270840213
TIDECV_COSTS = [
    4.399593677469461,
    39.35974478597512,
    2.713361405477599,
    1.3710508653840776,
    0.0,
    0.640462542494852,
]


def several_errors_per_label():
    """Labels and detections as `made` takes them. 23 cats and 29 dogs: no recall but 0 and 1 is a
    hundredth, on which the sums of tidecv and pycocotools may round differently.
    """
    random = np.random.RandomState(5)
    labels, found = [], []
    for number in range(52):
        category = CAT if number < 23 else DOG
        x, y, width, height = random.randint([0, 0, 30, 30], [140, 140, 60, 60]).tolist()
        labels.append((number % 20, category, x, y, width, height))
        for _ in range(3):
            moved = random.randint(-14, 15, 2)
            kind = category if random.rand() < 0.6 else CAT + DOG - category
            box = (x + int(moved[0]), y + int(moved[1]), width, height)
            found.append((number % 20, kind, *box, len(found)))
    scores = random.permutation(len(found)) / 1000
    return labels, [(*each[:-1], score) for each, score in zip(found, scores.tolist())]


def test_counts_and_costs_are_those_of_tidecv():
    """Stored: `TIDE().evaluate(..., pos_threshold=0.5, mode=TIDE.BOX)` of tidecv 1.0.1 on these
    boxes. Several labels have a classification and a localization error.
    """
    labels, found = several_errors_per_label()
    boxes = made(labels, found, images=20)
    matches = match(boxes)
    errors = find_errors(boxes, matches)
    right_if = {
        kind: set(errors.targets[errors.kinds == KINDS.index(kind)].tolist())
        for kind in ("classification", "localization")
    }
    assert set.intersection(*right_if.values()) - set(matches.labels[0].tolist())
    base, costs = error_costs(boxes, matches, errors)
    assert errors.counts() == TIDECV_COUNTS
    assert 100 * base == pytest.approx(TIDECV_AP50, abs=1e-9)
    assert 100 * np.array(costs) == pytest.approx(TIDECV_COSTS, abs=1e-9)


def test_threshold_of_the_best_f1():
    """Right, wrong, right, wrong by score, of 3 cats: F1 1/2, 2/5, 2/3, 4/7."""
    labels = [(0, CAT, 200 * i, 0, 100, 100) for i in range(3)]
    found = [
        (0, CAT, *SQUARE, 0.9),
        (0, CAT, 0, 500, 50, 50, 0.8),
        (0, CAT, 200, 0, 100, 100, 0.7),
        (0, CAT, 0, 700, 50, 50, 0.4),
    ]
    boxes = made(labels, found)
    matches = match(boxes)
    cats, dogs = score_curves(boxes, matches)
    assert cats.f1 == pytest.approx([1 / 2, 2 / 5, 2 / 3, 4 / 7])
    assert best_thresholds(boxes, matches) == [0.55, 0.5]  # no dog: the default
    assert dogs.best() == -1
    precision, recall, f1 = cats.at(np.array([0.0, 0.7, 0.75, 0.95]))
    assert precision[:3] == pytest.approx([1 / 2, 2 / 3, 1 / 2]) and np.isnan(precision[3])
    assert recall == pytest.approx([2 / 3, 2 / 3, 1 / 3, 0])
    assert f1 == pytest.approx([4 / 7, 2 / 3, 2 / 5, 0])


def test_equal_scores_are_kept_or_left_out_together():
    labels = [(0, CAT, *SQUARE)]
    boxes = made(labels, [(0, CAT, *SQUARE, 0.5), (0, CAT, 0, 500, 50, 50, 0.5)])
    curve = score_curves(boxes, match(boxes))[0]
    assert curve.precision.tolist() == [0.5] and curve.recall.tolist() == [1.0]


def test_confusion_by_hand():
    labels = [(0, CAT, *SQUARE), (0, DOG, 200, 0, 100, 100), (1, DOG, *SQUARE)]
    found = [
        (0, CAT, *SQUARE, 0.9),
        (0, CAT, 200, 0, 100, 100, 0.8),  # a dog taken for a cat
        (0, DOG, 500, 500, 10, 10, 0.7),  # nothing there
        (1, DOG, *SQUARE, 0.1),  # not confident: that dog is missed
    ]
    boxes = made(labels, found, images=2)
    matrix = confusion_matrix(boxes, match(boxes), [0.5, 0.5])
    assert matrix.tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_a_crowd_is_neither_found_nor_missed():
    boxes = made([(0, CAT, *SQUARE)], [(0, CAT, 10, 10, 20, 20, 0.9)])
    labels = boxes.labels._replace(is_crowd=np.ones(1, bool), is_ignored=np.ones(1, bool))
    boxes = boxes._replace(labels=labels)
    matches = match(boxes)
    assert matches.is_ignored[0].all() and not matches.is_wrong().any()
    assert find_errors(boxes, matches).counts() == [0] * 6
    assert confusion_matrix(boxes, matches, [0.0, 0.0]).sum() == 0


def test_nothing_at_all():
    boxes = made([], [])
    matches = match(boxes)
    assert np.isnan(average_precisions(boxes, matches)[0]).all()
    assert error_costs(boxes, matches, find_errors(boxes, matches)) == (0.0, [0.0] * 6)
    assert confusion_matrix(boxes, matches, [0.5, 0.5]).sum() == 0


def random_case(seed):
    """A metric with crowded images: crowds, difficult objects, equal scores, more than 100
    detections of a class.
    """
    rng = np.random.default_rng(seed)
    ids = [int(number) for number in rng.permutation(40)[:12]]
    categories = [{"id": 5 * i + 2, "name": f"class {i}"} for i in range(4)]
    truth = {"images": [{"id": i, "file_name": f"{i}"} for i in ids], "categories": categories}
    truth["annotations"], rows_of = [], {number: np.zeros((0, 6)) for number in ids}
    for number in ids:
        rows_of[number] = np.array([[1, rng.random(), 400, 400, 420, 420]])  # of nothing
        for _ in range(rng.integers(0, 25)):
            x, y, width, height = box = [*rng.integers(0, 60, 2), *rng.integers(4, 140, 2)]
            kind = int(rng.integers(0, 3))
            place = {"image_id": number, "category_id": 5 * kind + 2, "bbox": list(map(float, box))}
            flags = {"iscrowd": int(rng.random() < 0.1), "ignore": int(rng.random() < 0.1)}
            area = float(width * height * rng.uniform(0.5, 1))
            truth["annotations"].append({**place, "area": area, **flags})
            count = rng.integers(0, 30)
            rows = np.zeros((count, 6))
            rows[:, 0] = np.where(rng.random(count) < 0.8, kind, 3)
            rows[:, 1] = rng.random(count).round(1 + kind)
            noise = rng.normal(0, 0.12, (count, 4)) * [width, height, width, height]
            rows[:, 2:] = [x, y, x + width, y + height] + noise
            rows_of[number] = np.concatenate([rows_of[number], rows])
    metric = COCOMetric(truth, classwise=True)
    for number, rows in rows_of.items():
        metric.update(np.array([number]), rows, np.array([len(rows)]))
    return truth, metric


@pytest.mark.parametrize("seed", range(4))
def test_ap_and_recall_are_those_of_pycocotools(seed):
    truth, metric = random_case(seed)
    expected = metric.results()
    boxes = Boxes.of_coco(truth, list(metric.coco_results()))
    precision, recall = average_precisions(boxes, match(boxes, tuple(RANGES)))
    for number, key in enumerate(("", "s", "m", "l")):
        span = slice(10 * number, 10 * number + 10)
        ap, ar = np.nanmean(precision[span]), np.nanmean(recall[span])
        assert ap == pytest.approx(expected[f"bbox/AP{key}"], abs=1e-12)
        assert ar == pytest.approx(expected[f"bbox/AR{key or '100'}"], abs=1e-12)
    assert np.nanmean(precision[0]) == pytest.approx(expected["bbox/AP50"], abs=1e-12)
    for index, category in enumerate(truth["categories"]):
        own = np.nan_to_num(precision[:10, index], nan=-1).mean()
        assert own == pytest.approx(expected[f"bbox/AP/{category['name']}"], abs=1e-12)


def test_every_error_has_one_kind_and_the_costs_are_not_negative():
    truth, metric = random_case(5)
    boxes = Boxes.of_coco(truth, list(metric.coco_results()))
    matches = match(boxes)
    errors = find_errors(boxes, matches)
    assert ((errors.kinds >= 0) == matches.is_wrong()).all()
    base, costs = error_costs(boxes, matches, errors)
    assert base == pytest.approx(metric.results()["bbox/AP50"], abs=1e-12)
    assert min(costs) >= 0 and min(errors.counts()) > 0


def test_suspect_labels_by_hand():
    """Sure detections of nothing, of another class, of another box; one that is not sure, and one
    whose label another detection finds.
    """
    labels = [
        (0, CAT, *SQUARE),
        (0, DOG, 200, 0, 100, 100),
        (0, CAT, 0, 300, 100, 100),
        (0, DOG, 400, 0, 100, 100),
    ]
    found = [
        (0, CAT, *SQUARE, 0.95),
        (0, CAT, 0, 0, 100, 40, 0.85),  # found by the first: a second box of it
        (0, CAT, 200, 0, 100, 100, 0.8),  # labeled as a dog
        (0, CAT, 0, 300, 100, 40, 0.7),  # a box that is off
        (0, DOG, 700, 700, 50, 50, 0.9),  # not labeled
        (0, DOG, 800, 700, 50, 50, 0.1),  # not sure
    ]
    boxes = made(labels, found)
    matches = match(boxes)
    suspects = label_suspects(boxes, matches, find_errors(boxes, matches), [0.5, 0.5])
    scores = [boxes.found.scores[suspect.found] for suspect in suspects]
    said = [(suspect.suspicion, suspect.label) for suspect in suspects]
    assert scores == [0.9, 0.8, 0.7]
    assert said == [("not labeled", -1), ("another class", 1), ("another box", 2)]
