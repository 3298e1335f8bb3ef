"""Damaged inputs of every kind end in a result or in one clear line of error."""

import pytest

from tests.fuzz.harness import KINDS, needed_packages, run_kind


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_inputs_end_well(kind):
    for package in needed_packages(kind):
        pytest.importorskip(package)
    report = run_kind(kind, count=300)
    assert not report.faults
    assert report.counts["fine"] and report.counts["clear"]  # the damage reaches both
