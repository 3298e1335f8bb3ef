"""What counts as equal when an export is compared with the model it was made from."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ppdet_lite.export.compare import (
    FLOAT16,
    Agreement,
    compare_detections,
    decoded_agree,
    detections_agree,
    invented,
    raw_agree,
    together,
)
from ppdet_lite.runtime.contract import InferConfig

SETTINGS = InferConfig(
    [],
    [],
    nms={"score_threshold": 0.01, "post_threshold": 0.02, "keep_top_k": 100},
    decode={"conf_thresh": 0.05},
)


def maps(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 10, (6, 2, 3)), rng.normal(0, 10, (6, 4, 6))]


def test_raw_outputs_within_the_tolerance():
    expected = maps()
    found = [level + 5e-4 * np.abs(level).max() for level in expected]
    agreement = raw_agree(expected, found, SETTINGS)
    assert agreement.complaint is None and (agreement.matched, agreement.total) == (2, 2)
    assert agreement.gaps == {"of the largest value": pytest.approx(5e-4)}


@pytest.mark.parametrize("value", [np.nan, 1e3])
def test_one_wrong_raw_value_is_seen(value):
    expected = maps()
    found = [level.copy() for level in expected]
    found[1][3, 2, 2] = value
    agreement = raw_agree(expected, found, SETTINGS)
    assert agreement.complaint.startswith("output 1 differs by ")
    assert agreement.matched == 0


@pytest.mark.parametrize(
    ("spread", "outlier", "complaint"),
    [
        (0.01, 0.0, None),
        (0.05, 0.0, r"output 0 differs by 0\.0\d+ of the norm, allowed: 0\.03"),
        (0.0, 0.3, r"output 0 differs by 0\.3 of the largest value, allowed: 0\.15"),
        (np.nan, 0.0, "output 0 differs by nan of the largest value"),
    ],
)
def test_raw_outputs_in_float16_agree_by_norm_and_by_value(spread, outlier, complaint):
    rng = np.random.default_rng(3)
    expected = [rng.normal(0, 1, (200, 8, 8)) for _ in range(2)]
    found = [level + rng.normal(0, spread, level.shape) for level in expected]
    found[0][0, 0, 0] = expected[0][0, 0, 0] + outlier * np.abs(expected[0]).max()
    agreement = raw_agree(expected, found, tolerances=FLOAT16)
    assert re.match(complaint or "None", str(agreement.complaint))
    assert set(agreement.gaps) == {"of the largest value", "of the norm"}


def test_raw_outputs_of_another_shape():
    expected = maps()
    agreement = raw_agree(expected, expected[::-1], SETTINGS)
    assert agreement.complaint == "output 0 is (6, 4, 6), not (6, 2, 3)"


@pytest.mark.parametrize("count", [0, 1])
def test_an_export_that_leaves_out_a_raw_output(count):
    agreement = raw_agree(maps(), maps()[:count], SETTINGS)
    assert agreement.complaint == f"{count} outputs, not 2" and agreement.matched == 0


def candidates():
    """Boxes [5, 4] and scores [2, 5]; the last candidate is below the decoder's threshold."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 50, (5, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 20, (5, 2))], 1)
    scores = rng.uniform(0.1, 0.9, (2, 5))
    boxes[-1], scores[:, -1] = 0, 0
    return boxes, scores


def test_decoded_boxes_within_the_tolerance():
    boxes, scores = candidates()
    found = boxes + 0.05, scores - 5e-4
    found[0][-1], found[1][:, -1] = 0, 0
    agreement = decoded_agree((boxes, scores), found, SETTINGS)
    assert agreement.complaint is None and (agreement.matched, agreement.total) == (5, 5)
    assert agreement.gaps["px"] == pytest.approx(0.05)
    assert agreement.gaps["score"] == pytest.approx(5e-4)


def test_a_candidate_at_the_threshold_may_be_dropped_on_either_side():
    boxes, scores = candidates()
    other_boxes, other_scores = boxes.copy(), scores.copy()
    other_boxes[-1], other_scores[:, -1] = [1, 2, 30, 40], [0.01, 0.0505]
    for pair in ((boxes, scores), (other_boxes, other_scores)):
        swapped = (other_boxes, other_scores) if pair[0] is boxes else (boxes, scores)
        agreement = decoded_agree(pair, swapped, SETTINGS)
        assert agreement.complaint is None and agreement.matched == 4
    other_scores[1, -1] = 0.06
    assert decoded_agree((boxes, scores), (other_boxes, other_scores), SETTINGS).complaint


@pytest.mark.parametrize(("which", "step"), [(0, 0.5), (1, 0.01)])
def test_a_wrong_candidate_is_seen(which, step):
    expected = candidates()
    found = [array.copy() for array in expected]
    found[which].flat[1] += step
    agreement = decoded_agree(expected, found, SETTINGS)
    assert agreement.complaint.startswith("1 of 5 candidates differ, for instance number ")


def test_another_number_of_candidates():
    boxes, scores = candidates()
    agreement = decoded_agree((boxes, scores), (boxes[:4], scores[:, :4]), SETTINGS)
    assert agreement.complaint == (
        "boxes and scores should be (5, 4) and (2, 5), not (4, 4), (2, 4)"
    )


def test_detections_below_the_highest_threshold_do_not_count():
    rows = np.array([[0, 0.5, 1, 1, 9, 9], [0, 0.0505, 3, 3, 9, 9]], np.float32)
    agreement = detections_agree(rows, rows[:1], SETTINGS)
    assert agreement.complaint is None and (agreement.matched, agreement.total) == (1, 2)
    agreement = detections_agree(rows, rows[1:], SETTINGS)
    assert agreement.complaint == (
        "of 2 boxes 1 agree within 0.001 score and 0.1 px, 1 are missing and 0 are new, for "
        "instance class 0 score 0.5000 at [1.0, 1.0, 9.0, 9.0]"
    )


def detections(scores, seed=0):
    """Rows of class 0 with these scores and boxes of 5 to 20 px."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 50, (len(scores), 2))
    sides = rng.uniform(5, 20, (len(scores), 2))
    numbers = np.zeros((len(scores), 1)), np.array(scores)[:, None]
    return np.concatenate([*numbers, corners, corners + sides], 1)


def test_a_wrong_set_that_takes_all_places_excuses_nothing():
    """All its scores are about equal, so that it lies wholly at its own limit."""
    real = detections(np.linspace(0.9, 0.02, 60))
    saturated = detections([0.9999] * 100, seed=1)
    for one, other in ((real, saturated), (saturated, real)):
        result = compare_detections(one, other, 0.01, 100)
        assert (result.matched, len(result.lost), len(result.extra)) == (0, len(one), len(other))


@pytest.mark.parametrize("count", [0, 99])
def test_a_set_with_places_left_lost_what_lies_above_its_threshold(count):
    """That the other set is full and ends there is no excuse."""
    full = detections([0.5] * 100)
    result = compare_detections(full, full[:count], 0.01, 100)
    assert (result.matched, len(result.lost)) == (count, 100 - count)
    swapped = compare_detections(full[:count], full, 0.01, 100)
    assert (swapped.matched, len(swapped.extra)) == (count, 100 - count)


def test_limits_that_differ_within_the_tolerance():
    """The last places go to other rows, by rounding, and either set may have one place left."""
    one = detections([0.9, 0.0105, 0.0104])
    other = np.concatenate([one[:1], detections([0.0108], seed=1)])
    result = compare_detections(one, other, 0.01, 3)
    assert (result.matched, len(result.lost), len(result.extra)) == (1, 0, 0)
    assert result.at_limit.tolist() == other[1:].tolist()


def test_a_score_that_is_no_number_is_seen():
    one = detections([0.9, 0.5])
    other = one.copy()
    other[1, 1] = np.nan
    for keep_top_k in (2, 100):
        result = compare_detections(one, other, 0.01, keep_top_k)
        assert (len(result.lost), len(result.extra)) == (1, 1)


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ([0, 0, 0.05, 0, 0, 0], True),
        ([0, -0.2, 0, 0, 0, 0], True),  # NMS lowers scores
        ([0, 0.002, 0, 0, 0, 0], False),
        ([0, 0, 0, 0.5, 0, 0], False),
        ([1, 0, 0, 0, 0, 0], False),
        ([2, 0, 0, 0, 0, 0], False),  # no such class
        ([-1, 0, 0, 0, 0, 0], False),
    ],
)
def test_what_nms_could_make_of_candidates(change, allowed):
    rows = detections([0.3] * 8)
    boxes, scores = rows[:, 2:].copy(), np.stack([rows[:, 1], np.full(8, 0.01)])
    rows[3] += change
    assert invented(rows, boxes, scores).tolist() == ([] if allowed else [rows[3].tolist()])


def test_rows_at_the_limit_must_be_candidates_of_the_trained_model():
    """Of a model of which nothing stands out, all rows lie at the limit and may be others."""
    rows = detections([0.3] * 8)
    settings = replace(SETTINGS, nms={"keep_top_k": 4})
    all_candidates = rows[:, 2:], rows[None, :, 1]
    agreement = detections_agree(rows[:4], rows[4:], settings, lambda: all_candidates)
    assert (agreement.complaint, agreement.matched, agreement.total) == (None, 0, 4)
    fewer = rows[:6, 2:], rows[None, :6, 1]
    agreement = detections_agree(rows[:4], rows[4:], settings, lambda: fewer)
    corners = [round(float(v), 1) for v in rows[6, 2:]]
    assert agreement.complaint == (
        "of 4 boxes 0 agree, and 2 of the others are none that the trained model could give, for "
        f"instance class 0 score 0.3000 at {corners}"
    )


def test_images_are_added_up():
    whole = together(
        [
            Agreement("boxes", 3, 3, {"px": 1e-4, "score": 2e-6}),
            Agreement("boxes", 4, 5, {"px": 3e-4, "score": 1e-6}),
        ]
    )
    assert whole == Agreement("boxes", 7, 8, {"px": 3e-4, "score": 2e-6})
    assert whole.share == 7 / 8 and Agreement("boxes", 0, 0, {}).share == 0
    text = str(whole)
    assert text.startswith("7 of 8 boxes matched (the others lie at the limit of keep_top_k ")
    assert text.endswith("), largest difference 0.0003 px, 2e-06 score")


# -------------------------------------------------------------------- detections in any order
def rows(*values):
    return np.array(values, np.float32).reshape(-1, 6)


def test_comparison_matches_rows_in_any_order():
    reference = rows([0, 0.9, 0, 0, 10, 10], [1, 0.8, 5, 5, 20, 20], [0, 0.5, 1, 1, 4, 4])
    other = reference[[2, 0, 1]] + np.array([0, 5e-4, 0.05, 0, 0, -0.05], np.float32)
    result = compare_detections(reference, other)
    assert result.matched == 3 and len(result.lost) == len(result.extra) == 0
    assert result.max_box_px == pytest.approx(0.05, abs=1e-5)
    assert result.max_score == pytest.approx(5e-4, abs=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        [1, 0, 0, 0, 0, 0],  # another class
        [0, 2e-3, 0, 0, 0, 0],  # score
        [0, 0, 0.2, 0, 0, 0],  # corner
    ],
)
def test_comparison_sees_other_classes_scores_and_corners(change):
    reference = rows([0, 0.9, 0, 0, 10, 10], [0, 0.8, 5, 5, 20, 20])
    other = reference.copy()
    other[1] += change
    result = compare_detections(reference, other)
    assert result.matched == 1
    assert result.lost.tolist() == [pytest.approx(reference[1].tolist())]
    assert result.extra.tolist() == [pytest.approx(other[1].tolist())]


def test_one_row_cannot_be_matched_twice():
    reference = rows([0, 0.9, 0, 0, 10, 10], [0, 0.9, 0, 0, 10, 10])
    result = compare_detections(reference, reference[:1])
    assert result.matched == 1 and len(result.lost) == 1


def test_rows_at_the_reporting_limit_may_come_and_go():
    reference = rows([0, 0.9, 0, 0, 10, 10], [0, 0.0105, 5, 5, 20, 20])
    assert len(compare_detections(reference, reference[:1], lowest_score=0.01).lost) == 0
    assert len(compare_detections(reference, reference[:1], lowest_score=0.0).lost) == 1
    # All places taken: whether the last row is this one or its near-equal is a matter of rounding.
    other = rows([0, 0.9, 0, 0, 10, 10], [1, 0.5, 5, 5, 20, 20])
    reference = rows([0, 0.9, 0, 0, 10, 10], [1, 0.5, 50, 50, 60, 60])
    assert len(compare_detections(reference, other, keep_top_k=2).lost) == 0
    assert len(compare_detections(reference, other, keep_top_k=3).lost) == 1


def test_nothing_found_on_either_side():
    result = compare_detections(rows(), rows())
    assert result.matched == 0 and result.max_box_px == 0.0


@pytest.mark.parametrize(("wrong", "is_refused"), [(0, False), (2, False), (3, True)])
def test_few_boxes_of_a_float16_network_may_differ(wrong, is_refused):
    """Up to a tenth, rounded up, of the boxes that stand out."""
    rng = np.random.default_rng(4)
    corners = rng.uniform(0, 500, (12, 2))
    sides = rng.uniform(50, 100, (12, 2))
    score = np.linspace(0.9, 0.5, 12)[:, None]
    rows = np.concatenate([np.zeros((12, 1)), score, corners, corners + sides], axis=1)
    other = rows + np.array([0, 0.02, 0.9, 0.9, -0.9, 0.9])
    other[:wrong, 2] += 5
    agreement = detections_agree(rows, other, SETTINGS, tolerances=FLOAT16)
    assert (agreement.complaint is not None) == is_refused
    assert (agreement.matched, agreement.beyond) == (12 - wrong, wrong)
    assert ("2 beyond the tolerances" in str(agreement)) == (wrong == 2)
    assert detections_agree(rows, other, SETTINGS).complaint is not None
