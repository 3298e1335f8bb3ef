"""Checkpoints are whole or not there; resuming from what is there."""

import errno
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.train.hooks.saving import CheckpointHook, CheckpointWriter
from ppdet_lite.weights import checkpoint as module
from ppdet_lite.weights.checkpoint import (
    clean_temporaries,
    load_resume,
    newest_checkpoint,
    read_meta,
    save_checkpoint,
)
from ppdet_lite.weights.files import load_state


def tree(folder):
    return sorted(p.name for p in folder.iterdir())


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


# ---- writing -------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_and_paddle_reads_it(tmp_path):
    weights = {"a.weight": np.float32([[1, 2]]), "a._mean": np.float32([3])}
    stem = save_checkpoint(str(tmp_path), "7", weights, {"epoch": 7, "n": "é"}, {"position": 3})
    assert tree(tmp_path) == ["7.meta.json", "7.pdopt", "7.pdparams"]
    for path in (stem, stem + ".pdparams"):
        np.testing.assert_array_equal(load_state(path)["a.weight"], weights["a.weight"])
        assert read_meta(path) == {"epoch": 7, "n": "é"}
    for path in (stem, stem + ".pdparams", stem + ".pdopt"):
        assert load_resume(path)["position"] == 3
    np.testing.assert_array_equal(paddle.load(stem + ".pdparams")["a._mean"].numpy(), [3])


@pytest.mark.parametrize("failing_call", [1, 2, 3])
def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch, failing_call):
    save_checkpoint(str(tmp_path), "best_model", {"w": np.zeros(3)}, {"v": 1}, {"p": 1})
    before = contents(tmp_path)
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == failing_call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device.*are untouched"):
        save_checkpoint(str(tmp_path), "best_model", {"w": np.ones(3)}, {"v": 2}, {"p": 2})
    assert contents(tmp_path) == before


_WRITER = """
import sys, numpy as np
from ppdet_lite.weights.checkpoint import save_checkpoint
for n in range(10**6):
    big = np.full(400_000, n, np.float32)
    save_checkpoint(sys.argv[1], "1", {"w": big}, {"n": n}, {"n": n, "w": big})
    print(n, flush=True)
"""


def test_kill_9_leaves_whole_files_and_the_rest_is_cleaned_up(tmp_path, repo):
    for delay in (0.0, 0.004, 0.011):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)],
            cwd=repo,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(repo)},
        )
        assert writer.stdout.readline() == b"0\n"
        time.sleep(delay)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        array = load_state(str(tmp_path / "1"))["w"]
        assert len(array) == 400_000 and np.all(array == array[0])
        state = load_resume(str(tmp_path / "1"))
        assert np.all(state["w"] == state["n"])
    clean_temporaries(str(tmp_path))
    assert tree(tmp_path) == ["1.meta.json", "1.pdopt", "1.pdparams"]


def test_only_dead_processes_are_cleaned_up_after(tmp_path):
    mine = f".1.pdparams.{os.getpid()}.tmp"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [mine, f".1.pdparams.{dead.pid}.tmp", "notes.tmp", "1.pdparams"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert clean_temporaries(str(tmp_path)) == [names[1]]
    assert tree(tmp_path) == sorted([mine, "1.pdparams", "notes.tmp"])
    assert clean_temporaries(str(tmp_path / "absent")) == []


def test_a_snapshot_that_fails_does_not_end_the_run(toys, tmp_path, monkeypatch):
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "run").write_text("a file where the folder should be")
    trainer = toys.trainer(
        [CheckpointHook(CheckpointWriter(str(tmp_path / "run"), {}), 1)], epochs=2
    )
    with pytest.raises(CheckpointError) as error:
        trainer.run()
    assert trainer.state.iteration == 12
    (rescued,) = tmp_path.glob("temp/ppdet_lite_rescued_run_*/model_rescued.pdparams")
    assert "cannot write the checkpoint" in str(error.value)
    assert f"weights were written to {rescued} instead" in str(error.value)
    np.testing.assert_array_equal(
        load_state(str(rescued))["head.weight"],
        trainer.state.weights_for_use()["head.weight"].numpy(),
    )


def test_when_nothing_can_be_written_anywhere_it_is_said(toys, tmp_path, monkeypatch):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(blocked))
    monkeypatch.setenv("HOME", str(blocked))
    trainer = toys.trainer([CheckpointHook(CheckpointWriter(str(blocked), {}), 1)], epochs=1)
    with pytest.raises(CheckpointError, match="could not be written anywhere .* are lost"):
        trainer.run()


def versions(stem):
    return load_state(stem)["w"][0], load_resume(stem)["n"], read_meta(stem)["n"]


def save(folder, name, number, **options):
    array = {"w": np.full(3, float(number), np.float32)}
    return save_checkpoint(str(folder), name, array, {"n": number}, {"n": number}, **options)


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("renames", [0, 1, 2, 3, 4])
def test_a_kill_between_the_renames_leaves_one_version(tmp_path, monkeypatch, renames, exists):
    if exists:
        save(tmp_path, "best_model", 1)
    pid = os.fork()
    if pid == 0:
        replace, done = os.replace, []

        def replace_or_die(source, target):
            if len(done) == renames:
                os._exit(9)
            replace(source, target)
            done.append(target)

        module.os.replace = replace_or_die
        save(tmp_path, "best_model", 2, safetensors=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (9 if renames < 4 else 0)
    stem = str(tmp_path / "best_model")
    for _ in range(2):
        if renames:
            assert versions(stem) == (2, 2, 2)
        elif exists:
            assert versions(stem) == (1, 1, 1)
        clean_temporaries(str(tmp_path))  # at the start of the next run
    endings = [".meta.json", ".pdopt", ".pdparams", *([".safetensors"] if renames else [])]
    names = [f"best_model{ending}" for ending in endings] if exists or renames else []
    assert tree(tmp_path) == names


# ---- damage --------------------------------------------------------------------------------------


def load_all(stem):
    load_state(f"{stem}.pdparams")
    load_state(f"{stem}.safetensors")
    load_resume(stem)
    read_meta(stem)


@pytest.mark.parametrize("suffix", [".pdparams", ".safetensors", ".pdopt", ".meta.json"])
def test_a_damaged_file_is_refused_by_name(tmp_path, suffix):
    stem = save(tmp_path, "7", 7, safetensors=True)
    load_all(stem)
    path = tmp_path / f"7{suffix}"
    whole = path.read_bytes()
    for at in range(3, len(whole), len(whole) // 40):
        flipped = bytearray(whole)
        flipped[at] ^= 4
        for data in (flipped, whole[:at]):
            path.write_bytes(data)
            with pytest.raises(CheckpointError, match=rf"7\{suffix}: "):
                load_all(stem)
    path.write_bytes(whole + b"x")
    with pytest.raises(CheckpointError, match=rf"7\{suffix}: "):
        load_all(stem)


def test_files_of_two_checkpoints_are_not_mixed(tmp_path):
    one, two = save(tmp_path, "1", 1), save(tmp_path, "2", 2)
    os.replace(f"{one}.pdopt", f"{two}.pdopt")
    with pytest.raises(CheckpointError, match=r"2\.pdopt: damaged: .*sha256"):
        load_resume(two)
    save_checkpoint(str(tmp_path), "3", {"w": np.ones(3)}, {})
    os.replace(f"{two}.pdopt", tmp_path / "3.pdopt")
    with pytest.raises(CheckpointError, match=r"3\.pdopt: belongs to another checkpoint"):
        load_resume(str(tmp_path / "3"))


def test_checkpoints_without_sums_load(tmp_path):
    stem = save(tmp_path, "1", 1)
    (tmp_path / "1.meta.json").write_text('{"n": 1, "class_names": ["a"]}')
    assert versions(stem) == (1, 1, 1)
    (tmp_path / "1.meta.json").unlink()
    assert load_state(stem)["w"][0] == 1 and load_resume(stem)["n"] == 1


def test_a_renamed_checkpoint_and_a_changed_side_file_load(tmp_path):
    save(tmp_path, "1", 1)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("1.", "mine."))
    stem, meta = str(tmp_path / "mine"), tmp_path / "mine.meta.json"
    assert versions(stem) == (1, 1, 1)
    content = json.loads(meta.read_text())
    meta.write_text(json.dumps({**content, "class_names": ["cat"]}))
    with pytest.raises(CheckpointError, match=r"mine\.meta\.json: damaged.*write null"):
        read_meta(stem)
    content["sha256"] = None
    meta.write_text(json.dumps({**content, "class_names": ["cat"]}))
    assert read_meta(stem) == {"n": 1, "class_names": ["cat"]}


def test_safetensors_beside(tmp_path):
    load_file = pytest.importorskip("safetensors.numpy").load_file

    arrays = {"w": np.float32([[1, 2]]), "n": np.array(3), "e": np.zeros((0, 2), np.float16)}
    stem = save_checkpoint(str(tmp_path), "1", {**arrays, "t": {}}, {}, safetensors=True)
    assert tree(tmp_path) == ["1.meta.json", "1.pdparams", "1.safetensors"]
    for found in (load_file(f"{stem}.safetensors"), load_state(f"{stem}.safetensors")):
        assert list(found) == list(arrays) or set(found) == set(arrays)
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array)
            assert found[key].dtype == array.dtype
    save_checkpoint(str(tmp_path), "1", arrays, {})
    assert tree(tmp_path) == ["1.meta.json", "1.pdparams"]


# ---- resume --------------------------------------------------------------------------------------


def test_resume_without_pdopt_says_what_to_do(tmp_path):
    save_checkpoint(str(tmp_path), "8", {"w": np.zeros(1)}, {})
    save_checkpoint(str(tmp_path), "16", {"w": np.zeros(1)}, {}, {"p": 1})
    with pytest.raises(CheckpointError) as error:
        load_resume(str(tmp_path / "8"))
    text = str(error.value)
    assert "8.pdopt is missing" in text and f"pretrain_weights={tmp_path}/8.pdparams" in text
    assert "can be resumed from: 16" in text
    with pytest.raises(CheckpointError, match="no such checkpoint.*resumed from: 16"):
        load_resume(str(tmp_path / "24"))
    with pytest.raises(CheckpointError, match="there is no folder"):
        load_resume(str(tmp_path / "absent" / "24"))


def test_resume_of_a_foreign_or_damaged_file(tmp_path):
    paddle.save({"LR_Scheduler": {"last_epoch": 3}}, str(tmp_path / "1.pdopt"))
    with pytest.raises(CheckpointError, match="not written by ppdet_lite"):
        load_resume(str(tmp_path / "1"))
    save_checkpoint(str(tmp_path), "2", {"w": np.zeros(1)}, {}, {"p": np.zeros(999)})
    whole = (tmp_path / "2.pdopt").read_bytes()
    (tmp_path / "2.pdopt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="2.pdopt: .*(damaged|refused)"):
        load_resume(str(tmp_path / "2"))


def test_meta_absent_or_broken(tmp_path):
    assert read_meta(str(tmp_path / "nothing")) == {}
    (tmp_path / "x.meta.json").write_text("{")
    with pytest.raises(CheckpointError, match="x.meta.json"):
        read_meta(str(tmp_path / "x.pdparams"))
    for content in ("[1]", '{"class_names": "cats"}', '{"class_names": [1, 2]}'):
        (tmp_path / "x.meta.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"x.meta.json: found no 'class_names: \[...\]'"):
            read_meta(str(tmp_path / "x"))
    for content, found in (
        ('{"epoch": -1}', "epoch: found -1"),
        ('{"iteration": "a"}', "iteration"),
    ):
        (tmp_path / "x.meta.json").write_text(content)
        with pytest.raises(CheckpointError, match=f"x.meta.json: {found}"):
            read_meta(str(tmp_path / "x"))
    for content in ("[" * 100_000, '{"files": 3}', '{"files": {".pdopt": {"bytes": "x"}}}'):
        (tmp_path / "x.meta.json").write_text(content)
        with pytest.raises(CheckpointError, match="x.meta.json: "):
            read_meta(str(tmp_path / "x"))
    (tmp_path / "x.meta.json").write_text("{}")
    assert read_meta(str(tmp_path / "x")) == {}


@pytest.mark.parametrize(
    "value",
    [np.float32(np.nan), np.float16(-np.inf), np.uint16(0x7FC0)],  # the last as bfloat16
)
def test_a_state_with_nan_is_refused(tmp_path, value):
    state = {"model": {"a.w": np.array([1, value], value.dtype)}}
    save_checkpoint(str(tmp_path), "1", {"w": np.zeros(1)}, {}, state)
    with pytest.raises(CheckpointError, match=r"1\.pdopt: model\.a\.w holds NaN"):
        load_resume(str(tmp_path / "1"))


def test_the_newest_whole_checkpoint(tmp_path, capsys):
    def no_check(state, source):
        assert source.endswith(".pdopt")

    assert newest_checkpoint(str(tmp_path / "none"), no_check) == ("", None)
    for number in range(1, 6):
        save(tmp_path, str(number), number)
        for path in tmp_path.glob(f"{number}.*"):
            os.utime(path, (number, number))
    save_checkpoint(str(tmp_path), "weights_only", {"w": np.zeros(1)}, {})
    (tmp_path / "5.pdopt").write_bytes(b"")
    (tmp_path / "4.pdparams").write_bytes((tmp_path / "4.pdparams").read_bytes()[:-1])
    stem, state = newest_checkpoint(str(tmp_path), no_check)
    assert stem == str(tmp_path / "3") and state["n"] == 3
    printed = capsys.readouterr().err
    assert "Passed over" in printed and "5.pdopt: damaged: it has 0 bytes" in printed
    assert "4.pdparams: damaged" in printed and "weights_only" not in printed

    def refuse(state, source):
        raise CheckpointError(f"{source}: progress: found nothing")

    with pytest.raises(CheckpointError, match=r"(?s)no whole checkpoint in .*3\.pdopt: progress"):
        newest_checkpoint(str(tmp_path), refuse)
