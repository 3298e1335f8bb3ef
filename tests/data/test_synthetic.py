"""The set drawn by program: deterministic, exactly labeled, never half written."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.coco import COCODataSet
from ppdet_lite.data.synthetic import demo_set, shapes
from ppdet_lite.data.synthetic.demo_set import draw_scene, make_demo_data


def quiet(line):
    """Takes the lines of the report."""


def test_the_set_loads_and_is_varied(tmp_path):
    lines = []
    folder = make_demo_data(tmp_path / "demo", train=40, val=10, size=96, seed=1, say=lines.append)
    train = COCODataSet(str(folder), "train", "annotations/train.json")
    val = COCODataSet(str(folder), "val", "annotations/val.json")
    assert (len(train), len(val)) == (40, 10)
    assert train.class_names == val.class_names == ["circle", "square", "triangle", "star", "ring"]
    assert len(train.report_lines) <= 2  # nothing repaired or dropped
    assert train.unreadable_files() == val.unreadable_files() == {}
    records = [train.record(i) for i in range(40)]
    assert set(np.concatenate([r["gt_class"] for r in records]).ravel()) == set(range(5))
    counts = [len(r["gt_bbox"]) for r in records]
    assert max(counts) >= 5 and min(counts) <= 1
    sides = np.concatenate([r["gt_bbox"][:, 2:] - r["gt_bbox"][:, :2] for r in records])
    assert sides.min() < 0.15 * 96 and sides.max() > 0.4 * 96
    assert cv2.imread(train.image_path(0)).shape == (96, 96, 3)
    assert lines[-1] == f"demo set: {tmp_path / 'demo'}"
    assert lines[0].startswith("train: 40 images (")


def test_the_seed_fixes_every_byte(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_demo_data(tmp_path / name, train=3, val=2, size=64, seed=seed, say=quiet)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 7
    assert all(
        (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files
    )
    assert any(
        (tmp_path / "a" / f).read_bytes() != (tmp_path / "c" / f).read_bytes() for f in files
    )


def test_training_and_held_out_images_differ(tmp_path):
    folder = make_demo_data(tmp_path / "demo", train=2, val=2, size=64, say=quiet)
    images = {path.read_bytes() for path in folder.rglob("*.jpg")}
    assert len(images) == 4


def test_boxes_are_the_bounds_of_what_is_drawn(monkeypatch):
    """Painted in plain white on plain black, without camera noise, the pixels give the box back."""
    monkeypatch.setattr(demo_set, "MIN_OBJECTS", 1)
    monkeypatch.setattr(demo_set, "MAX_OBJECTS", 1)
    monkeypatch.setattr(demo_set, "NEGATIVE_SHARE", 0)
    monkeypatch.setattr(shapes, "background", lambda rng, size: np.zeros((size, size, 3), "f4"))
    monkeypatch.setattr(shapes, "camera", lambda rng, canvas: canvas)
    white = lambda rng, color, size_hw, d: np.full((*size_hw, 3), 255, "f4")  # noqa: E731
    monkeypatch.setattr(shapes, "fill", white)
    border = 0
    for seed in range(60):
        canvas, objects = draw_scene(np.random.default_rng(seed), 128)
        x, y, width, height = objects[0]["bbox"]
        drawn = canvas.max(axis=2) > 2
        columns, rows = np.flatnonzero(drawn.any(axis=0)), np.flatnonzero(drawn.any(axis=1))
        bounds = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose([x, y, x + width, y + height], bounds, atol=1.05)
        assert x >= 0 and y >= 0 and x + width <= 128 and y + height <= 128
        border += bool(x == 0 or y == 0 or x + width == 128 or y + height == 128)
        outline = np.array(objects[0]["segmentation"][0]).reshape(-1, 2)
        assert outline.min(axis=0).tolist() == [x, y]
        assert objects[0]["area"] <= width * height
    assert border >= 3  # some objects are cut by the border


def test_coverage_is_the_covered_area():
    square = np.array([[2.25, 3.0], [6.75, 3.0], [6.75, 8.5], [2.25, 8.5]])
    alpha = shapes.coverage([square], 12, 12)
    assert alpha.sum() == pytest.approx(4.5 * 5.5, rel=0.06)
    assert alpha[5, 4] == 1 and alpha[0, 0] == 0 and 0 < alpha[5, 2] < 1
    assert shapes.coverage([square + 50], 12, 12).sum() == 0


def test_clipping_a_polygon():
    triangle = np.array([[-4.0, 2.0], [4.0, 2.0], [4.0, 10.0]])
    clipped = shapes.clip_polygon(triangle, 8, 8)
    assert clipped.min(axis=0).tolist() == [0, 2] and clipped.max(axis=0).tolist() == [4, 8]
    # 32 without the corner left of x = 0 (4 x 4 / 2) and the one below y = 8 (2 x 2 / 2).
    assert shapes.polygon_area(clipped) == pytest.approx(32 - 8 - 2)
    assert len(shapes.clip_polygon(triangle + 100, 8, 8)) == 0


def test_an_existing_set_is_kept_or_protected(tmp_path):
    folder = tmp_path / "demo"
    make_demo_data(folder, train=1, val=1, size=64, say=quiet)
    stamp = (folder / "annotations" / "val.json").stat().st_mtime_ns
    lines = []
    make_demo_data(folder, train=1, val=1, size=64, say=lines.append)
    assert lines == [f"{folder}: this demo set is already there (1 train, 1 val images)"]
    assert (folder / "annotations" / "val.json").stat().st_mtime_ns == stamp
    with pytest.raises(DataError, match=r"train 1 instead of 2.*`overwrite`.*`output`"):
        make_demo_data(folder, train=2, val=1, size=64, say=quiet)
    make_demo_data(folder, train=2, val=1, size=64, overwrite=True, say=quiet)
    assert len(list(folder.rglob("*.jpg"))) == 3
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="exists and is no demo set"):
        make_demo_data(other, train=1, val=1, size=64, overwrite=True, say=quiet)
    assert (other / "thesis.txt").read_text() == "precious"


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def interrupt(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_demo_data(tmp_path / "demo", train=1, val=1, size=64, say=interrupt)
    assert list(tmp_path.iterdir()) == []
    make_demo_data(tmp_path / "demo", train=1, val=1, size=64, say=quiet)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        make_demo_data(tmp_path / "demo", train=5, val=1, size=64, overwrite=True, say=interrupt)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("output", [".", "..", "/", "demo/..", ""])
def test_a_folder_that_is_not_new_is_refused(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="`output`: found '.*', allowed: the path of a new folder"):
        make_demo_data(output, train=1, val=1, size=64, say=quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key, value", [("train", 0), ("val", 0), ("size", 32), ("seed", -1)])
def test_unusable_numbers(tmp_path, key, value):
    with pytest.raises(DataError, match=f"`{key}`: found {value}"):
        make_demo_data(tmp_path / "demo", say=quiet, **{key: value})


def test_the_tool(tmp_path, repo):
    tool = [sys.executable, str(repo / "tools" / "make_demo_data.py")]
    size = ["--train", "2", "--val", "1", "--size", "64"]
    done = subprocess.run(
        [*tool, "--output", str(tmp_path / "demo"), *size], capture_output=True, text=True
    )
    assert done.returncode == 0 and "demo set:" in done.stdout
    content = json.loads((tmp_path / "demo" / "annotations" / "train.json").read_text())
    assert len(content["images"]) == 2
    refused = subprocess.run(
        [*tool, "--output", str(tmp_path), *size], capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {tmp_path} exists and is no demo set")
