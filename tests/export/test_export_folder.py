"""An export takes the place of an earlier one whole, or not at all; other files stay."""

import os
import shutil
import signal
import threading
from types import SimpleNamespace

import pytest
from paddle import nn

from ppdet_lite.core.errors import UserError
from ppdet_lite.export.folder import check_room, move_into_place
from ppdet_lite.export.formats.onnx_format import OnnxFormat
from ppdet_lite.export.formats.paddle_format import PaddleFormat
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.modeling.layers.deform_conv import SampledConv2D


@pytest.fixture
def target(tmp_path):
    """An earlier export, in which the user has put something."""
    folder = tmp_path / "out" / "small"
    (folder / "trt_cache").mkdir(parents=True)
    (folder / "trt_cache" / "engine").write_text("built for hours")
    (folder / "model.pdmodel").write_text("an export of Paddle 2")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def part(target):
    folder = target.parent / ".small.new"
    folder.mkdir(mode=0o700)
    (folder / "model.json").write_text("new")
    return folder


def content(folder):
    """Path below the folder -> text."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


MINE = {"notes.txt": "mine", "trt_cache/engine": "built for hours"}
OLD = {"model.pdmodel": "an export of Paddle 2", **MINE}


def test_a_new_export_replaces_the_old_files_only(target, part):
    move_into_place(part, target)
    assert content(target) == {"model.json": "new", **MINE}
    assert os.listdir(target.parent) == ["small"]
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_first_export(tmp_path):
    part = tmp_path / ".small.new"
    part.mkdir()
    move_into_place(part, tmp_path / "small")
    assert os.listdir(tmp_path) == ["small"]


@pytest.mark.parametrize("failing", ["rename", "replace"])
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), KeyboardInterrupt()])
def test_nothing_of_the_users_is_lost_when_it_fails(
    target, part, monkeypatch, capsys, failing, error
):
    """At the renaming of the new folder, and when the first of the user's files is moved. Then they
    lie in a hidden folder, which is named."""
    real = getattr(os, failing)

    def fail(source, destination):
        if source == part or failing == "replace":
            raise error
        real(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises((type(error), UserError)) as caught:
            move_into_place(part, target)
    if failing == "rename":
        assert content(target) == OLD
        assert sorted(os.listdir(target.parent)) == [".small.new", "small"]
    else:
        assert content(target) == {"model.json": "new"}
        (rest,) = (path for path in target.parent.iterdir() if path != target)
        assert content(rest / "small") == OLD
        said = f"{caught.value}\n{capsys.readouterr().err}"
        assert said.count(f"your own files that were not moved lie in {rest / 'small'}\n") == 1
        if isinstance(error, OSError):
            assert f"{target}: holds the new export, but not all other files" in said
            assert "could be moved into it (Permission denied); your own" in said


def test_many_exports_at_once(tmp_path):
    """Whichever comes last stays, whole, and the user's files with it."""
    target = tmp_path / "small"
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    parts = []
    for number in range(8):
        part = tmp_path / f".small.{number}"
        part.mkdir()
        for name in ("model.json", "model.pdiparams"):
            (part / name).write_text(str(number))
        parts.append(part)
    failures = []

    def move(part):
        try:
            move_into_place(part, target)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=move, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    found = content(target)
    assert found["model.json"] == found["model.pdiparams"] and found["notes.txt"] == "mine"
    assert os.listdir(tmp_path) == ["small"]


# ------------------------------------------------------------------------------ through the export
def new_content(folder):
    found = content(folder)
    assert found.pop("infer_cfg.yml")
    return found


def test_a_link_stays_a_link(quick_export, target, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "small").symlink_to(target)
    assert quick_export(parent=tmp_path / "links") == target.resolve()
    assert (tmp_path / "links" / "small").is_symlink()
    assert new_content(target) == {"quick.txt": "new", **MINE}


def test_a_file_in_the_place_of_the_folder(quick_export, tmp_path):
    (tmp_path / "small").write_text("mine")
    with pytest.raises(UserError, match=r"small: cannot be written \(it is not a folder\)"):
        quick_export()
    with pytest.raises(UserError, match=r"small/small: cannot be written \("):
        quick_export(parent=tmp_path / "small")
    assert content(tmp_path) == {"small": "mine"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_earlier_export_and_nothing_else(quick_export, target, number):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        quick_export(lambda *_: os.kill(os.getpid(), number), parent=target.parent)
    assert os.listdir(target.parent) == ["small"]
    assert content(target) == OLD
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_room_for_the_files_that_are_written(tmp_path, monkeypatch):
    """A portable file is one only of networks with deformable convolutions; exports for CPUs may
    have none left."""
    mebibytes = []

    def usage(folder):
        return SimpleNamespace(free=mebibytes[0] * 2**20)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    plain = nn.Linear(512, 1024)  # 2 MiB, and each file holds a graph as well
    deformable = nn.Sequential(plain, SampledConv2D(2, 2, 3))
    paddle, onnx = PaddleFormat(), OnnxFormat()
    for network, portable, formats, files in (
        (plain, False, [paddle], 1),
        (deformable, False, [onnx], 1),
        (plain, True, [paddle, onnx], 2),
        (deformable, True, [paddle, onnx], 3),
    ):
        options = ExportOptions(portable_dcn=portable)
        mebibytes[:] = [7 * files]
        check_room(network, tmp_path, options, formats)
        mebibytes[:] = [6 * files]
        with pytest.raises(UserError, match=f"the export needs about {6 * files} MiB and"):
            check_room(network, tmp_path, options, formats)


def test_a_full_disk_is_said_and_leaves_nothing(quick_export, tmp_path, monkeypatch):
    def full(network, folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="small: cannot be written .No space left on device"):
        quick_export(full)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=3 * 2**20))
    with pytest.raises(UserError, match=r"needs about \d+ MiB and 3 MiB are free"):
        quick_export()
    assert os.listdir(tmp_path) == []
