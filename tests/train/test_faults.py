"""Faults in the middle of a training: no finished step is lost, and no half of one is saved."""

import os
import signal
import tempfile

import numpy as np
import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.checkpoint import load_resume, read_meta
from tests.train.toy_hooks import StopAfter, eval_hooks, flat, saving


@pytest.mark.parametrize("signals, is_saved", [(1, True), (2, False)])
def test_signals_while_the_state_is_saved(toys, tmp_path, monkeypatch, signals, is_saved):
    replace = os.replace

    def slow(*paths):
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.setattr(os, "replace", replace)
        replace(*paths)

    monkeypatch.setattr(os, "replace", slow)
    with pytest.raises(KeyboardInterrupt):
        toys.trainer([StopAfter(3), saving(tmp_path)]).run()
    assert ((tmp_path / "interrupted.pdopt").exists()) is is_saved
    assert not list(tmp_path.glob(".*"))


def test_an_error_between_two_steps_saves_the_last_finished_one(toys, tmp_path):
    reader = toys.reader()

    def die(epoch, index):
        if (epoch, index) == (0, 4):
            raise RuntimeError("a worker died")

    reader.on_batch = die
    straight = toys.trainer([StopAfter(4), saving(tmp_path / "straight")])
    trainer = toys.trainer([saving(tmp_path / "died")], reader=reader)
    with pytest.raises(RuntimeError, match="a worker died"):
        trainer.run()
    with pytest.raises(KeyboardInterrupt):
        straight.run()
    wanted, found = (
        load_resume(str(tmp_path / name / "interrupted")) for name in ("straight", "died")
    )
    assert found["progress"] == wanted["progress"]
    for key, value in flat(wanted).items():
        np.testing.assert_array_equal(flat(found)[key], value, err_msg=key)


def test_an_error_while_the_weights_move_saves_nothing(toys, tmp_path, monkeypatch):
    trainer = toys.trainer([saving(tmp_path, 100)])

    def fail():
        if trainer.state.iteration == 3:
            raise RuntimeError("half a step")

    monkeypatch.setattr(trainer.state, "update_ema", fail)
    with pytest.raises(RuntimeError, match="half a step"):
        trainer.run()
    assert not list(tmp_path.iterdir())


def test_an_interrupted_state_without_room_is_rescued(toys, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "run").write_text("a file where the folder should be")
    trainer = toys.trainer([StopAfter(3), saving(tmp_path / "run")])
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    (folder,) = tmp_path.glob("ppdet_lite_rescued_run_*")
    assert folder.stat().st_mode & 0o077 == 0
    assert f"to go on, resume from {folder}/interrupted_rescued" in caplog.text
    assert load_resume(str(folder / "interrupted_rescued"))["progress"]["iteration"] == 3


def test_best_models_without_room_are_rescued_into_one_folder(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "run").write_text("a file where the folder should be")
    _, hooks = eval_hooks(str(tmp_path / "run"), [0.1, 0.3, 0.2])
    with pytest.raises(CheckpointError, match="model_rescued.pdparams instead; to go on, resume"):
        toys.trainer(hooks, epochs=3).run()
    (folder,) = tmp_path.glob("ppdet_lite_rescued_run_*")
    assert read_meta(str(folder / "best_model_rescued"))["best"]["value"] == 0.3
    assert read_meta(str(folder / "model_rescued"))["iteration"] == 18
