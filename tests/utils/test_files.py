"""Files that are written whole, or not at all."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.core.errors import DataError, ImageError, UserError
from ppdet_lite.utils.files import check_utf8, check_writable, replacing, write_image, write_json


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


def test_folders_are_made_when_it_is_written_only(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for path in ("~/a/b/x.json", tmp_path / "c/x.json", "x.json"):
        check_writable(path)
    assert os.listdir(tmp_path) == []
    for path in ("~/a/b/x.json", tmp_path / "c/x.json", "x.json"):
        write_json(path, {"größe": [1, 2.5]})
    for path in ("a/b/x.json", "c/x.json", "x.json"):
        text = (tmp_path / path).read_text(encoding="utf-8")
        assert json.loads(text) == {"größe": [1, 2.5]} and text.endswith("\n")
    assert sorted(os.listdir(tmp_path)) == ["a", "c", "x.json"]


def test_what_cannot_be_written_is_said_alike(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path, reason in (
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "x.json", f"{tmp_path / 'file'} is not a folder"),
        (tmp_path / "file" / "new" / "x.json", f"{tmp_path / 'file'} is not a folder"),
    ):
        with pytest.raises(UserError) as caught:
            check_writable(path)
        assert str(caught.value) == f"{path}: cannot be written ({reason})"
        with pytest.raises(UserError) as caught:
            write_json(path, {})
        assert str(caught.value).startswith(f"{path}: cannot be written (")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UserError, match=r"x\.json: cannot be written \(no permission\)"):
        check_writable(tmp_path / "new" / "x.json")


def test_links_stay_and_pipes_take_it(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "x.json")
    write_json(tmp_path / "link.json", 1)
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "x.json").read_text() == "1\n"
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()), daemon=True)
    reader.start()
    check_writable(pipe)
    write_json(pipe, [2])
    reader.join(timeout=30)
    assert found == ["[\n 2\n]\n"] and not pipe.is_file()


def test_a_device_is_written_into(capfd):
    if not os.path.exists("/dev/stdout"):
        pytest.skip("this system has no /dev/stdout")
    check_writable("/dev/stdout")
    write_json("/dev/stdout", 1)
    assert capfd.readouterr().out == "1\n"
    assert not os.path.isfile("/dev/stdout") or os.path.islink("/dev/stdout")
