"""The loop: exact resume, accumulation, hooks, the check for finite numbers, Ctrl-C."""

import os
import signal
import weakref

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import CheckpointError, TrainingError
from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.train.hooks.finite_check import FiniteCheckHook
from ppdet_lite.train.hooks.saving import EvalHook
from ppdet_lite.weights.checkpoint import load_resume, read_meta
from tests.train.toy_hooks import Recorder, StopAfter, eval_hooks, flat, saving


@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_batches_are_let_go_before_the_next_ones_are_read(toys, accumulate_steps):
    """So that a reader can use their memory again."""
    given, alive = [], []

    class Watched(toys.reader):
        def batches(self, epoch, start=0):
            for kept in super().batches(epoch, start):
                batch = {**kept, "image": kept["image"].copy()}
                given.append(weakref.ref(batch["image"]))
                yield batch
                del batch
                alive.append(sum(image() is not None for image in given))

    toys.trainer([Recorder()], 1, accumulate_steps=accumulate_steps, reader=Watched(4)).run()
    assert alive == [[0, 0, 0], [1, 0, 1]][accumulate_steps - 1]  # those of the step to come


def test_training_lowers_the_loss(toys):
    recorder = Recorder()
    toys.trainer([recorder], epochs=20).run()
    assert np.mean(recorder.losses[-20:]) < 0.8 * np.mean(recorder.losses[:6])


def test_a_model_learns_where_its_batch_stands(toys):
    seen = []

    class Listening(toys.reader):
        """Adds ground truth as a list, one array per image."""

        def batches(self, epoch, start=0):
            for batch in super().batches(epoch, start):
                yield {**batch, "gt_bbox": [np.zeros((n, 4), np.float32) for n in (2, 0)]}

    trainer = toys.trainer(epochs=2, seed=11, accumulate_steps=2, reader=Listening(4))
    forward = trainer.state.model.forward
    trainer.state.model.forward = lambda inputs: seen.append(inputs) or forward(inputs)
    trainer.run()
    place = [tuple(inputs[k].item() for k in ("epoch_id", "iteration", "seed")) for inputs in seen]
    steps = [(0, 0, 11), (0, 1, 11), (1, 2, 11), (1, 3, 11)]
    assert place == [step for step in steps for _ in range(2)]
    for inputs in seen:
        assert "im_file" not in inputs
        assert [boxes.shape for boxes in inputs["gt_bbox"]] == [[2, 4], [0, 4]]
        assert all(map(paddle.is_tensor, inputs["gt_bbox"]))


@pytest.mark.parametrize("stop_at", [1, 4, 6, 11])
def test_resume_equals_the_uninterrupted_run_bit_by_bit(toys, tmp_path, stop_at):
    straight = Recorder()
    whole = toys.trainer([straight], epochs=3)
    whole.run()

    first, second = Recorder(), Recorder()
    cut = toys.trainer([StopAfter(stop_at), first, saving(tmp_path, 100)], epochs=3)
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    # other initial weights, other layer names
    rest = toys.trainer([second], epochs=3, seed=99)
    assert rest.state.set_state_dict(load_resume(str(tmp_path / "interrupted"))) == []
    assert rest.state.iteration == stop_at
    rest.run()

    assert first.losses + second.losses == straight.losses
    assert first.rates + second.rates == straight.rates
    expected, found = flat(whole.state.state_dict()), flat(rest.state.state_dict())
    assert list(found) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_accumulated_micro_batches_equal_one_large_batch(toys):
    class Doubled(toys.reader):
        """The same images as two consecutive batches, in one."""

        def __init__(self):
            super().__init__(count=3)

        def batches(self, epoch, start=0):
            pairs = list(toys.reader().batches(epoch))
            for index in range(start, 3):
                one, two = pairs[2 * index : 2 * index + 2]
                yield {
                    k: np.concatenate([one[k], two[k]]) if k != "im_file" else one[k] + two[k]
                    for k in one
                }

    def without_batch_effects(trainer):
        trainer.state.model.dropout.p = 0.0
        # Batch statistics differ between micro batches and the large batch by nature.
        trainer.state.model.norm._use_global_stats = True
        return trainer

    small = without_batch_effects(toys.trainer(accumulate_steps=2, epochs=2))
    large = without_batch_effects(toys.trainer(reader=Doubled(), epochs=2))
    small.run()
    large.run()
    assert small.state.iteration == large.state.iteration == 6
    ours, theirs = small.state.model.state_dict(), large.state.model.state_dict()
    for key in ("conv.weight", "head.weight", "head.bias"):
        np.testing.assert_allclose(ours[key].numpy(), theirs[key].numpy(), atol=1e-6)


def test_a_loss_that_is_not_finite_stops_the_run(toys, tmp_path):
    reader = toys.reader()
    reader.poison = (1, 2)
    checkpoints = saving(tmp_path)
    trainer = toys.trainer([FiniteCheckHook(checkpoints.writer), checkpoints], reader=reader)
    with pytest.raises(TrainingError) as error:
        trainer.run()
    text = str(error.value)
    assert "loss_a nan" in text and "loss nan" in text and "loss_b" not in text
    assert "iteration 8 (epoch 1, step 2" in text
    assert f"{tmp_path / '0'} is good" in text
    assert "photo_1_2_0.jpg" in text and "photo_1_2_1.jpg" in text and "photo_1_1" not in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.meta.json", "0.pdopt", "0.pdparams"]
    assert all(np.isfinite(v).all() for v in load_resume(str(tmp_path / "0"))["model"].values())
    assert all(np.isfinite(p.numpy()).all() for p in trainer.state.model.parameters())


def test_the_poisoned_micro_batch_alone_is_named(toys):
    reader = toys.reader()
    reader.poison = (0, 3)
    with pytest.raises(TrainingError) as error:
        toys.trainer([FiniteCheckHook()], reader=reader, accumulate_steps=2).run()
    assert "photo_0_3_0.jpg" in str(error.value) and "photo_0_2_0.jpg" not in str(error.value)


def test_a_gradient_that_is_not_finite_stops_the_run(toys, tmp_path):
    (tmp_path / "0.pdparams").touch()  # of another run
    trainer = toys.trainer([FiniteCheckHook(saving(tmp_path).writer)])
    trainer.state.model.head.weight.register_hook(lambda grad: grad * float("inf"))
    stopped = r"gradient of head.weight is not finite[\s\S]*this run has no checkpoint yet"
    with pytest.raises(TrainingError, match=stopped):
        trainer.run()
    assert trainer.state.iteration == 0


def test_ctrl_c_finishes_the_step_saves_and_restores_the_handler(toys, tmp_path, capfd):
    before = signal.getsignal(signal.SIGINT)
    trainer = toys.trainer([StopAfter(3), saving(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer.state.iteration == 3
    assert "Stopping after this step (Ctrl-C again: at once)" in capfd.readouterr().err
    assert load_resume(str(tmp_path / "interrupted"))["progress"]["iteration"] == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_waiting_for_data_acts_at_once(toys, tmp_path):
    reader = toys.reader()

    def interrupt(epoch, index):
        if (epoch, index) == (0, 4):
            os.kill(os.getpid(), signal.SIGINT)

    reader.on_batch = interrupt
    trainer = toys.trainer([saving(tmp_path)], reader=reader)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert load_resume(str(tmp_path / "interrupted"))["progress"]["iteration"] == 4


def test_hooks_run_in_their_order(toys):
    calls = []

    class Named(Hook):
        def __init__(self, name):
            self.name = name

        def __getattribute__(self, event):
            if event in Hook.__dict__ and not event.startswith("_"):
                return lambda *_: calls.append((event, self.name))
            return object.__getattribute__(self, event)

    toys.trainer([Named("a"), Named("b")], epochs=1, reader=toys.reader(1)).run()
    events = ["before_train", "before_epoch", "before_forward", "before_update", "after_step"]
    events += ["after_epoch", "after_train", "close"]
    assert calls == [(event, name) for event in events for name in "ab"]


def test_best_model_is_kept_by_score_and_over_a_resume(toys, tmp_path):
    folder = str(tmp_path)
    evaluator, hooks = eval_hooks(folder, [0.3, 0.6])
    toys.trainer(hooks, epochs=2).run()
    assert read_meta(folder + "/best_model")["best"]["value"] == 0.6
    assert read_meta(folder + "/model_final")["metrics"] == {"bbox_map": 0.6, "bbox_map50": 0.5}

    _, hooks = eval_hooks(folder, [0.4])
    resumed = toys.trainer(hooks, epochs=3)
    resumed.state.set_state_dict(load_resume(folder + "/model_final"))
    resumed.run()
    meta = read_meta(folder + "/best_model")
    assert meta["best"] == {"name": "bbox_map", "value": 0.6, "epoch": 1, "iteration": 12}
    assert meta["class_names"] == ["cat", "dog"] and meta["config"] == "toy"
    assert read_meta(folder + "/model_final")["metrics_epoch"] == 2


def test_an_interrupted_evaluation_is_made_up_for(toys, tmp_path):
    class Interrupted:
        def run(self, model):
            raise KeyboardInterrupt

    trainer = toys.trainer([saving(tmp_path), EvalHook(Interrupted(), 1)], epochs=2)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    evaluator, hooks = eval_hooks(str(tmp_path), [0.2, 0.1])
    resumed = toys.trainer(hooks, epochs=2)
    resumed.state.set_state_dict(load_resume(str(tmp_path / "interrupted")))
    resumed.run()
    assert resumed.state.iteration == 12 and evaluator.scores == []
    assert resumed.state.best["epoch"] == 0


def test_evaluation_sees_the_average_and_training_goes_on_with_the_weights(toys, tmp_path):
    evaluator, hooks = eval_hooks(str(tmp_path), [0.1, 0.2])
    trainer = toys.trainer(hooks, epochs=2)
    plain = toys.trainer(epochs=2)
    trainer.run()
    plain.run()
    average = plain.state.ema.averaged(plain.state.model)
    for key, value in plain.state.model.state_dict().items():
        np.testing.assert_array_equal(trainer.state.model.state_dict()[key].numpy(), value.numpy())
        np.testing.assert_array_equal(evaluator.seen[-1][key], average[key].numpy())
    saved = paddle.load(str(tmp_path / "model_final.pdparams"))
    np.testing.assert_array_equal(saved["conv.weight"].numpy(), average["conv.weight"].numpy())


def test_a_resume_into_another_model_is_refused(toys, tmp_path):
    toys.trainer([saving(tmp_path)], epochs=1).run()
    other = toys.trainer()
    other.state.model.extra = paddle.nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="belongs to another model: 2 tensors differ"):
        other.state.set_state_dict(load_resume(str(tmp_path / "model_final")), "model_final")


def test_changed_batches_restart_the_epoch_and_say_so(toys, tmp_path):
    class Larger(toys.reader):
        batch_size = 4

    cut = toys.trainer([StopAfter(9), saving(tmp_path, 100)])
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    other = toys.trainer(reader=Larger(3))
    remarks = other.state.set_state_dict(load_resume(str(tmp_path / "interrupted")))
    assert "batch_size 2 -> 4" in remarks[0]
    assert "epoch 1 starts from its beginning instead of step 3" in remarks[1]
    assert "after 1 epochs done: iteration 9 -> 3, 6 -> 3 steps per epoch" in remarks[2]
    assert (other.state.epoch, other.state.step_in_epoch, other.state.iteration) == (1, 0, 3)
    # the rate is that of an uninterrupted run of such batches at this epoch
    assert other.state.scheduler() == toys.trainer(reader=Larger(3)).state.scheduler.lr_lambda(3)


def test_the_best_evaluation_is_renumbered_with_the_steps(toys, tmp_path):
    _, hooks = eval_hooks(str(tmp_path), [0.5])
    toys.trainer(hooks, epochs=1).run()
    _, hooks = eval_hooks(str(tmp_path / "other"), [0.1, 0.2, 0.3])
    other = toys.trainer(hooks, epochs=3, reader=toys.reader(3))
    other.state.set_state_dict(load_resume(str(tmp_path / "best_model")))
    assert other.state.best["iteration"] == 3
    other.run()
    assert read_meta(str(tmp_path / "other" / "best_model"))["iteration"] == 3
