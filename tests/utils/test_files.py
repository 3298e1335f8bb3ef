"""Which images are taken, and the files written for them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.utils.detect_files import output_stems, raise_unreadable
from ppdet_lite.utils.detection_rows import coco_records, detection_records
from ppdet_lite.utils.files import check_utf8, write_image, write_json
from ppdet_lite.utils.image_files import list_images

NAMES = ["person", "traffic light", "Platelets"]


def test_records_hold_names_pixels_and_the_best_score_first():
    rows = np.array([[2, 0.3, 1, 2, 3, 4], [0, 0.9, 10.12345, 20, 30, 45], [1, 0.1, 0, 0, 1, 1]])
    assert detection_records(rows, NAMES, 0.2) == [
        {"class_id": 0, "class_name": "person", "score": 0.9, "box": [10.123, 20.0, 30.0, 45.0]},
        {"class_id": 2, "class_name": "Platelets", "score": 0.3, "box": [1.0, 2.0, 3.0, 4.0]},
    ]
    assert coco_records(rows, 5, "a.jpg", 0.5, [7, 8, 9]) == [
        {
            "image_id": 5,
            "file_name": "a.jpg",
            "category_id": 7,
            "bbox": [10.123, 20.0, 19.877, 25.0],
            "score": 0.9,
        }
    ]
    assert coco_records(rows, 5, "a.jpg", 0.5)[0]["category_id"] == 0


def test_names_that_are_not_utf8(tmp_path):
    """In JSON they stand as escapes; where a library would crash they are refused."""
    name = os.fsdecode(b"lat\xfcn \xc3\xbc.jpg")
    write_json(tmp_path / "a.json", [name])
    assert (tmp_path / "a.json").read_text("utf-8") == '[\n "lat\\udcfcn ü.jpg"\n]\n'
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == [name]
    check_utf8("größe.jpg", "OpenCV")
    with pytest.raises(DataError) as caught:
        check_utf8(Path(name), "OpenCV")
    assert str(caught.value) == (
        "lat\\xfcn ü.jpg: the name is not UTF-8 and OpenCV cannot take it; rename it"
    )


def test_unknown_formats_and_unwritable_places_are_named(tmp_path):
    with pytest.raises(ImageError, match=r"x\.xyz: cannot be encoded"):
        write_image(tmp_path / "x.xyz", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=r"file/x\.png: cannot be written"):
        write_image(tmp_path / "file" / "x.png", np.zeros((4, 4, 3), np.uint8))


# --------------------------------------------------------------------------------- input images
@pytest.mark.parametrize(
    "cause, error, words",
    [
        (OSError(28, "No space left on device"), ImageError, "a.json: cannot be written .No space"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
    ],
)
def test_a_write_that_fails_leaves_no_piece(tmp_path, monkeypatch, cause, error, words):
    def full(path, data):
        path.touch()
        raise cause

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(error, match=words):
        write_json(tmp_path / "a.json", [1])
    assert list(tmp_path.iterdir()) == []


def test_two_runs_may_write_the_same_file(tmp_path, monkeypatch):
    path, replace = tmp_path / "a.json", os.replace

    def after_the_other_run(part, target):
        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        write_json(path, "the other run")
        replace(part, target)

    monkeypatch.setattr(os, "replace", after_the_other_run)
    write_json(path, "this run")
    assert json.loads(path.read_text()) == "this run"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_is_walked_without_other_files_and_old_results(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.jpeg", "sub/notes.txt", ".hidden.jpg", ".h/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"x")
    found = list_images(tmp_path, skip=tmp_path / "out")
    assert [str(p.relative_to(tmp_path)) for p in found] == ["a.png", "b.JPG", "sub/c.jpeg"]


def test_folders_that_cannot_be_used_are_named(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    cases = {
        "gone": "no such folder",
        "notes.txt": "is a file, not a folder",
        "empty": "no images in this folder or below it (looked for .jpg .jpeg .png .bmp .tif "
        ".tiff .webp)",
    }
    for name, reason in cases.items():
        with pytest.raises(DataError) as caught:
            list_images(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {reason}"


def test_results_never_clash_and_never_cover_their_source(tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    names = ["x.jpg", "x.png", "sub/x.jpg", "X.jpg", "x_png.jpg"]
    stems = output_stems([root / name for name in names], root, out)
    assert stems == [out / "x", out / "x_png", out / "sub" / "x", out / "X_jpg", out / "x_png_jpg"]
    names = ["bbox.jpg", "sub/bbox.jpg"]  # bbox.json holds the detections of all images
    stems = output_stems([root / name for name in names], root, out)
    assert stems == [out / "bbox_jpg", out / "sub" / "bbox"]
    apart = output_stems(
        [root / "a" / "x.jpg", root / "b" / "x.jpg", root / "c" / "x.jpg"], None, out
    )
    assert apart == [out / "x", out / "x_jpg", out / "x_jpg_2"]
    with pytest.raises(DataError, match=r"x\.jpg: its result would be written into the image's"):
        output_stems([root / "x.jpg"], root, root)


def test_every_unreadable_image_is_named():
    raise_unreadable([], 5)
    with pytest.raises(ImageError) as caught:
        raise_unreadable(["a.jpg: the file is empty"], 5)
    assert str(caught.value) == "a.jpg: the file is empty"
    with pytest.raises(ImageError) as caught:
        raise_unreadable(["a.jpg: x", "b.jpg: y"], 5)
    assert str(caught.value) == "2 of 5 images cannot be read:\n  - a.jpg: x\n  - b.jpg: y"
