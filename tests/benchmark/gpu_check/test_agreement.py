"""Detections beside those of a reference, by hand."""

import numpy as np
import pytest

from ppdet_lite.benchmark.gpu_check.agreement import TOLERANCES, Tolerance, compare

TIGHT = Tolerance(0.01, 1.0, 0.0, 0.9)


def rows(*entries):
    """Detections: class, score, x of a box 10 wide and 20 high."""
    return np.array([[c, s, x, 0, x + 10, 20] for c, s, x in entries], np.float32).reshape(-1, 6)


REFERENCE = rows((0, 0.9, 0), (1, 0.8, 30), (0, 0.7, 60), (2, 0.1, 90))


def test_equal_detections_agree_but_for_the_last_which_may_be_cut():
    result = compare([REFERENCE], [REFERENCE[::-1]], TIGHT)
    assert result == (3, 3, 0, 0.0, 0.0) and result.holds(TIGHT)


def test_differences_within_the_tolerance_are_told():
    found = rows((0, 0.895, 0.5), (1, 0.8, 30), (0, 0.7, 60), (2, 0.1, 90))
    result = compare([REFERENCE], [found], TIGHT)
    assert result.matched == 3
    assert (result.score, result.px) == pytest.approx((0.005, 0.5), rel=1e-3)


@pytest.mark.parametrize(
    "changed",
    [(0, 0.7, 62), (1, 0.7, 60), (0, 0.65, 60)],
    ids=["a corner 2 px away", "another class", "another score"],
)
def test_other_boxes_are_lost_and_extra(changed):
    result = compare([REFERENCE], [np.concatenate([REFERENCE[[0, 1, 3]], rows(changed)])], TIGHT)
    assert result[:3] == (2, 3, 1) and not result.holds(TIGHT)


def test_a_detection_has_one_partner():
    doubled = np.concatenate([REFERENCE, REFERENCE[:1], REFERENCE[:1]])
    assert compare([REFERENCE], [doubled], TIGHT).extra == 2
    assert not compare([REFERENCE], [doubled], TIGHT).holds(TIGHT)


def test_large_boxes_may_move_by_a_share_of_their_side():
    large = np.array([[0, 0.9, 0, 0, 100, 400], [0, 0.1, 0, 0, 9, 9]], np.float32)
    moved = large + np.array([0, 0, 4, 0, 4, 0], np.float32)
    assert compare([large], [moved], TIGHT).matched == 0
    assert compare([large], [moved], TIGHT._replace(side_share=0.01)).matched == 1


def test_nothing_found_is_no_agreement():
    nothing = [rows()] * 2
    assert not compare(nothing, nothing, TIGHT).holds(TIGHT)
    assert compare([REFERENCE], [rows()], TIGHT)[:2] == (0, 3)


def test_scores_that_hardly_differ_are_compared_all_the_same():
    """As those of drawn weights: the whole list lies within the tolerance of its lowest score."""
    scores = np.linspace(0.023, 0.019, 21)
    expected = rows(*((0, score, 30 * i) for i, score in enumerate(scores)))
    found = expected + np.float32(1e-6) * np.array([0, 1, 0, 0, 0, 0], np.float32)
    result = compare([expected], [found], TOLERANCES["fp16"])
    assert result[:3] == (20, 20, 0) and result.holds(TOLERANCES["fp16"])
    found[:10, 2:] += 5
    assert not compare([expected], [found], TOLERANCES["fp16"]).holds(TOLERANCES["fp16"])


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="1 photos, expected 2"):
        compare([REFERENCE] * 2, [REFERENCE], TIGHT)
    with pytest.raises(ValueError, match="no numbers"):
        compare([REFERENCE], [rows((0, np.nan, 0))], TIGHT)


def test_every_precision_has_a_tolerance_and_fp32_the_smallest():
    assert min(TOLERANCES.values(), key=lambda each: each.px) is TOLERANCES["fp32"]
    assert TOLERANCES["fp16"].score < TOLERANCES["int8"].score
