"""Checkpoints are whole or not there; resuming from what is there."""

import errno
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
from ppdet_lite.weights.checkpoint import clean_temporaries, load_resume, read_meta, save_checkpoint
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
    (tmp_path / "x.meta.json").write_text("{}")
    assert read_meta(str(tmp_path / "x")) == {}
