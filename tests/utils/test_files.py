"""Files that are written whole, or not at all."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.utils.files import check_utf8, replacing, write_image, write_json


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
    with pytest.raises(DataError, match=r"file/x\.png: cannot be written"):
        write_image(tmp_path / "file" / "x.png", np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    "cause, error",
    [(OSError(28, "No space left on device"), DataError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_write_that_fails_leaves_the_earlier_file(tmp_path, cause, error):
    (tmp_path / "a.json").write_text("earlier")
    with pytest.raises(error) as caught, replacing(tmp_path / "a.json") as stream:
        stream.write(b"half")
        raise cause
    assert error is KeyboardInterrupt or "a.json: cannot be written (No space" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "earlier"


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


def test_threads_may_write_the_same_file(tmp_path):
    path = tmp_path / "a.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_json(path, number), range(200)))
    assert json.loads(path.read_text()) in range(200)
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_an_error_about_another_file_is_not_blamed_on_the_one_written(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.json"):
        (tmp_path / "b.json").read_text()


def test_an_image_that_cannot_be_encoded(tmp_path):
    with pytest.raises(ImageError, match="a.jpg: cannot be encoded"):
        write_image(tmp_path / "a.jpg", np.zeros((0, 5, 3), np.uint8))
