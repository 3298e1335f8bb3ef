"""The JSON file of the tools that measure: looked at first, written whole, refused alike."""

import json
import os
import threading

import pytest

from ppdet_lite.core.errors import UserError
from ppdet_lite.utils.json_file import check_json, write_json


def test_folders_are_made_when_it_is_written_only(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for path in ("~/a/b/x.json", tmp_path / "c/x.json", "x.json"):
        check_json(path)
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
            check_json(path)
        assert str(caught.value) == f"{path}: cannot be written ({reason})"
        with pytest.raises(UserError) as caught:
            write_json(path, {})
        assert str(caught.value).startswith(f"{path}: cannot be written (")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UserError, match=r"x\.json: cannot be written \(no permission\)"):
        check_json(tmp_path / "new" / "x.json")


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
    check_json(pipe)
    write_json(pipe, [2])
    reader.join(timeout=30)
    assert found == ["[\n 2\n]\n"] and not pipe.is_file()
