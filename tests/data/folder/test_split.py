"""Dividing a data set by image, stratified by class."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.folder.recognize import recognize
from ppdet_lite.data.folder.split_set import SplitDataSet
from ppdet_lite.data.folder.stratified import stratified_split
from tests.data.folder import layouts

SHARES = {"train": 0.8, "val": 0.2}


def test_every_class_has_its_share_in_every_split():
    rng = np.random.default_rng(1)
    frequencies = np.array([0.9, 0.3, 0.1, 0.02])
    counts = (rng.random((500, 4)) < frequencies) * rng.integers(1, 4, (500, 4))
    parts = stratified_split(counts, SHARES, seed=3)
    assert sorted(np.concatenate([*parts.values()])) == [*range(500)]
    assert len(parts["val"]) == pytest.approx(100, abs=3)
    present = counts > 0
    present = np.column_stack([present, ~present.any(axis=1)])
    found = present[parts["val"]].sum(axis=0)
    assert (np.abs(found - 0.2 * present.sum(axis=0)) <= 2).all()


def test_a_class_of_one_image_stays_in_train_and_no_split_is_empty():
    counts = np.eye(5, dtype=int)
    parts = stratified_split(counts, {"train": 0.9, "val": 0.1})
    assert len(parts["train"]) == 4 and len(parts["val"]) == 1
    rare = np.zeros((40, 2), int)
    rare[:, 0] = 1
    rare[7, 1] = 1
    for seed in range(5):
        assert 7 in stratified_split(rare, SHARES, seed)["train"]


def test_the_seed_decides():
    counts = np.ones((60, 1), int)
    first, again, other = (stratified_split(counts, SHARES, seed)["val"] for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_split_as_data_set(tmp_path):
    layouts.coco_cvat(tmp_path)
    source = recognize(tmp_path).dataset("train")
    parts = {part: SplitDataSet(source, part, SHARES) for part in SHARES}
    files = {part: {set_.image_path(i) for i in range(len(set_))} for part, set_ in parts.items()}
    assert len(files["val"]) == 1 and not files["val"] & files["train"]
    assert files["val"] | files["train"] == {source.image_path(i) for i in range(5)}
    truth = parts["val"].to_coco()
    assert len(truth["images"]) == 1 and truth["annotations"]
    assert "1 of 5 images, drawn with seed 0" in parts["val"].report_lines[-1]


def test_what_cannot_be_a_split(tmp_path):
    layouts.coco_cvat(tmp_path)
    source = recognize(tmp_path).dataset("train")
    with pytest.raises(ConfigError, match="part: found test, allowed: train, val"):
        SplitDataSet(source, "test", SHARES)
    with pytest.raises(ConfigError, match="shares: found a sum of 1.3"):
        SplitDataSet(source, "val", {"train": 0.8, "val": 0.5})
