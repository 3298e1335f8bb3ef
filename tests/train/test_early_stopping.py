"""Runs that end before their last epoch, and those that go on behind it."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.train.hooks.early_stopping import EarlyStoppingHook
from ppdet_lite.train.run import run_training
from ppdet_lite.train.schedule import CosineDecay, LearningRate, LinearWarmup, PiecewiseDecay
from ppdet_lite.train.schedule_pass import SchedulePass
from ppdet_lite.weights.checkpoint import load_resume, read_meta
from tests.train.toy_hooks import eval_hooks, flat

SCORES = [0.1, 0.3, 0.2, 0.3, 0.2, 0.5, 0.4, 0.4]


def test_a_run_without_better_results_ends(toys, tmp_path, caplog):
    _, hooks = eval_hooks(str(tmp_path), SCORES)
    trainer = toys.trainer([*hooks, EarlyStoppingHook(3)], epochs=8)
    trainer.run()
    assert (trainer.state.epoch, trainer.state.best["epoch"]) == (5, 1)
    assert "no better bbox_map than 0.3000 of epoch 1 in 3 epochs" in caplog.text
    assert read_meta(str(tmp_path / "model_final"))["epoch"] == 5


@pytest.mark.parametrize("nothing", [-1.0, float("nan")])
def test_evaluations_without_labels_are_no_results(toys, tmp_path, caplog, nothing):
    _, hooks = eval_hooks(str(tmp_path / "none"), [nothing] * 3)
    trainer = toys.trainer([*hooks, EarlyStoppingHook(1)], epochs=3)
    trainer.run()
    assert (trainer.state.epoch, trainer.state.best) == (3, None)
    assert "bbox_map is not defined" in caplog.text and "best bbox_map" not in caplog.text
    assert not list((tmp_path / "none").glob("best_model*"))
    _, hooks = eval_hooks(str(tmp_path / "some"), [0.5, nothing, nothing, 0.4])
    trainer = toys.trainer([*hooks, EarlyStoppingHook(2)], epochs=6)
    trainer.run()
    assert (trainer.state.epoch, trainer.state.best["epoch"]) == (4, 0)


def test_a_resumed_run_ends_or_goes_on_as_if_it_had_not_stopped(toys, tmp_path):
    straight = toys.trainer(eval_hooks(str(tmp_path / "a"), SCORES)[1], epochs=8)
    straight.run()
    folder = str(tmp_path / "b")
    toys.trainer([*eval_hooks(folder, SCORES)[1], EarlyStoppingHook(3)], epochs=8).run()
    for patience, end in ((3, 5), (4, 8)):
        hooks = [*eval_hooks(folder, SCORES[5:])[1], EarlyStoppingHook(patience)]
        resumed = toys.trainer(hooks, epochs=8)
        resumed.state.set_state_dict(load_resume(f"{folder}/model_final"))
        resumed.run()
        assert resumed.state.epoch == end
    expected, found = flat(straight.state.state_dict()), flat(resumed.state.state_dict())
    assert all(np.array_equal(found[key], value) for key, value in expected.items())
    assert resumed.state.best == straight.state.best


def test_patience_needs_evaluations(config):
    with pytest.raises(ConfigError, match="patience: found 3, .*`evaluate`"):
        run_training(config("patience=3"))


def progress(epoch, schedule, step=0):
    saved = None if schedule is None else schedule.state_dict()
    setting = {"steps_per_epoch": 4}
    return {"epoch": epoch, "step_in_epoch": step, "batch_setting": setting, "schedule": saved}


@pytest.mark.parametrize(
    "epoch, step, before, epochs, after",
    [
        (3, 1, (10, 0, 10), 10, (10, 0, 10)),
        (3, 1, (10, 0, 10), 20, (20, 0, 20)),  # in the middle: another length from the start
        (10, 0, (10, 0, 10), 10, (10, 0, 10)),
        (10, 0, (10, 0, 10), 5, (10, 0, 10)),
        (10, 0, (10, 0, 10), 15, (10, 10, 15)),
        (9, 4, (10, 0, 10), 15, (10, 10, 15)),  # all steps of the last epoch are done
        (12, 2, (10, 10, 15), 15, (10, 10, 15)),  # an extension goes on
        (12, 2, (10, 10, 15), 18, (10, 10, 18)),
        (15, 0, (10, 10, 15), 16, (10, 15, 16)),
        (3, 1, None, 15, (15, 0, 15)),  # a checkpoint of an earlier version
    ],
)
def test_the_pass_of_a_resumed_run(epoch, step, before, epochs, after):
    schedule = None if before is None else SchedulePass(*before)
    found, remark = SchedulePass.after(progress(epoch, schedule, step), epochs)
    assert found == SchedulePass(*after)
    assert bool(remark) == (before not in (None, after))


def rates(curve, schedule, steps_per_epoch, first, last):
    scheduler = schedule.scheduler(curve, steps_per_epoch)
    found = []
    for iteration in range(first * steps_per_epoch, last * steps_per_epoch):
        scheduler.last_epoch = iteration - 1
        scheduler.step()
        found.append(scheduler())
    return found


def test_an_extension_runs_the_whole_schedule_in_its_epochs():
    warmup = LinearWarmup(steps=4, start_factor=0.0)
    curve = LearningRate(0.8, [CosineDecay(), warmup])
    straight = rates(curve, SchedulePass.first(10), 4, 0, 10)
    assert straight == [curve.at(iteration, 4, 10) for iteration in range(40)]
    assert rates(curve, SchedulePass(10, 10, 15), 4, 10, 15) == straight[::2]
    assert rates(curve, SchedulePass(10, 15, 35), 4, 15, 35)[::2] == straight
    steps = LearningRate(1.0, [PiecewiseDecay(0.1, [8])])
    assert rates(steps, SchedulePass(10, 10, 15), 2, 10, 15) == [1.0] * 8 + [0.1] * 2


def test_extending_a_finished_run_equals_itself_after_an_interruption(config, tmp_path):
    run_training(config("epoch=1"))
    final = str(config.folder / "model_final")
    cfg = config("epoch=3", "snapshot_epoch=1", f"save_dir={tmp_path / 'straight'}")
    straight = run_training(cfg, resume=final)
    log = (tmp_path / "straight" / "tiny" / "train.log").read_text()
    assert "The finished run of 1 epochs is extended to 3" in log
    stem = str(tmp_path / "straight" / "tiny" / "1")
    assert load_resume(stem)["progress"]["schedule"] == {"curve_epochs": 1, "start": 1, "end": 3}
    resumed = run_training(config("epoch=3"), resume=stem)
    expected, found = straight.state_dict(), resumed.state_dict()
    assert found["progress"] == expected["progress"]
    assert all(np.array_equal(found["model"][k], v) for k, v in expected["model"].items())
