"""The changes between two configurations, and that a file of them is the second."""

from ppdet_lite.core.difference import changes_between
from ppdet_lite.core.yaml import Tagged


def test_changes_are_told_key_by_key():
    base = {"a": 1, "s": {"x": 1, "y": 2}, "l": [1, 2], "same": {"k": [1]}}
    other = {"a": 1, "s": {"x": 1, "y": 3}, "l": [1], "same": {"k": [1]}, "new": None}
    assert changes_between(base, other) == {"s": {"y": 3}, "l": [1], "new": None}


def test_a_section_of_another_class_counts_whole():
    base = {"d": {"name": "A", "x": 1}, "t": Tagged("P", {"k": 1})}
    other = {"d": {"name": "B", "x": 1}, "t": Tagged("Q", {"k": 1})}
    assert changes_between(base, other) == other
    assert changes_between({"d": 1}, {"d": True}) == {"d": True}
