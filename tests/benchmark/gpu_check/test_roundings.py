"""Distances of raw outputs from float32, by hand."""

import numpy as np
import pytest

from ppdet_lite.benchmark.gpu_check.roundings import compare_roundings, distance

EXACT = np.array([[3.0, 4.0, 0.0]])


def test_a_distance_is_a_share_of_the_norm():
    assert distance(EXACT, EXACT + np.array([0, 0, 0.5])) == pytest.approx(0.1)
    assert distance(EXACT, EXACT * np.nan) == float("inf")


@pytest.mark.parametrize(
    ("error", "agrees"), [(0.5, True), (0.7, True), (0.8, False), (3.0, False)]
)
def test_an_engine_may_round_as_much_as_the_cpu(tmp_path, error, agrees):
    np.savez(tmp_path / "raw.npz", raw=EXACT, distance=0.1)
    row = compare_roundings(tmp_path / "raw.npz", EXACT + np.array([0, 0, error]))
    assert row["boxes_agree"] is agrees
    assert row["boxes"] == f"raw outputs {error / 5:.1%} off by norm, on the CPU 10.0%"
