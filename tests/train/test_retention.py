"""Old checkpoints go, and never the one that a run could need."""

import pytest

from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.train.hooks.retention import RetentionHook, remove_checkpoint, saved_epochs
from ppdet_lite.train.state import check_saved
from ppdet_lite.weights.checkpoint import load_resume, newest_checkpoint, save_checkpoint
from tests.train.toy_hooks import eval_hooks, saving


def run(toys, folder, epochs, count, resume=""):
    trainer = toys.trainer([saving(folder), RetentionHook(str(folder), count, resume)], epochs)
    if resume:
        trainer.state.set_state_dict(load_resume(resume))
    trainer.run()


def test_the_newest_stay_with_the_best_and_the_last(toys, tmp_path):
    _, hooks = eval_hooks(str(tmp_path), [0.1, 0.4, 0.2, 0.2, 0.2, 0.2])
    toys.trainer([*hooks, RetentionHook(str(tmp_path), 2)], epochs=6).run()
    stems = {path.name.partition(".")[0] for path in tmp_path.iterdir()}
    assert stems == {"3", "4", "best_model", "model_final"}
    assert load_resume(str(tmp_path / "best_model"))["progress"]["best"]["epoch"] == 1


def test_the_checkpoint_resumed_from_stays_and_so_do_epochs_to_come(toys, tmp_path):
    for epoch in (0, 1, 2, 7):
        save_checkpoint(str(tmp_path), str(epoch), {}, {}, {})
    run(toys, tmp_path, 3, 4)
    assert saved_epochs(tmp_path) == [7, 2, 1, 0]  # 7 is another run's
    run(toys, tmp_path, 6, 1, resume=str(tmp_path / "0"))
    assert saved_epochs(tmp_path) == [7, 4, 0]


def test_nothing_goes_while_none_that_stays_is_whole(toys, tmp_path, caplog):
    class Damage(Hook):
        def after_epoch(self, run):
            with open(tmp_path / f"{run.state.epoch}.pdopt", "ab") as file:
                file.write(b"x")

    hooks = [saving(tmp_path), Damage(), RetentionHook(str(tmp_path), 1)]
    toys.trainer(hooks, epochs=4).run()
    assert saved_epochs(tmp_path) == [3, 2, 1, 0]
    assert "2.pdopt: damaged" in caplog.text


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_a_kill_while_files_are_removed_leaves_a_run_to_go_on_with(
    toys, tmp_path, monkeypatch, removed
):
    """In every state of the folder, and the next run removes the rest."""
    run(toys, tmp_path, 3, 2)
    order = []
    monkeypatch.setattr("pathlib.Path.unlink", lambda path, missing_ok: order.append(path))
    remove_checkpoint(str(tmp_path / "0"))
    monkeypatch.undo()
    for path in [path for path in order if path.exists()][:removed]:
        path.unlink()
    assert newest_checkpoint(str(tmp_path), check_saved)[0] == str(tmp_path / "model_final")
    if removed < 3:
        assert saved_epochs(tmp_path) == [1, 0]
    run(toys, tmp_path, 5, 2, resume=str(tmp_path / "model_final"))
    assert saved_epochs(tmp_path) == [3, 2]
