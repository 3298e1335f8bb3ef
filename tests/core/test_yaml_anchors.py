"""Anchors, aliases and merge keys of YAML keep working in the line-counting reader."""

from ppdet_lite.core.yaml import parse_yaml


def test_anchor_alias_and_merge_key():
    text = "a: &norm {mean: [1.5], std: 2}\nb: *norm\nc:\n  <<: *norm\n  std: 3\n"
    document = parse_yaml(text, "t")
    assert document.value["b"] == {"mean": [1.5], "std": 2}
    assert document.value["c"] == {"mean": [1.5], "std": 3}
    assert document.notes == []
    assert document.lines[("c", "std")] == 5
