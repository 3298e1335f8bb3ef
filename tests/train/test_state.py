"""What a checkpoint holds is checked before a run goes on from it."""

import numpy as np
import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.train.state import check_saved


@pytest.fixture
def saved(toys):
    """The state after two epochs of the toy."""
    trainer = toys.trainer(epochs=2)
    trainer.run()
    return trainer.state.state_dict()


def test_a_state_of_ours_is_accepted(toys, saved):
    check_saved(saved, "a.pdopt")
    state = toys.trainer().state
    assert state.set_state_dict(saved) == []
    assert state.iteration == 12
    optional = {**saved["progress"], "best": None, "last_evaluation": None}
    check_saved({**saved, "ema": None, "progress": optional}, "a.pdopt")


@pytest.mark.parametrize(
    "path, value, wanted",
    [
        ("optimizer", None, "optimizer: found None, allowed: a mapping"),
        ("ema.step", "a", "ema.step: found 'a'"),
        ("ema.step", None, "ema.step: found None"),
        ("progress", {}, "progress.epoch: found nothing, allowed: 0 or more"),
        ("progress", 5, "progress: found 5, allowed: a mapping"),
        ("progress.epoch", -1, "progress.epoch: found -1, allowed: 0 or more"),
        ("progress.epoch", True, "progress.epoch: found True"),
        ("progress.iteration", 10**30, "progress.iteration: found 1000"),
        ("progress.seed", 1.5, "progress.seed: found 1.5"),
        ("progress.batch_setting", None, "batch_setting: found None"),
        ("progress.batch_setting.steps_per_epoch", 0, "steps_per_epoch: found 0"),
        ("progress.best", {"value": float("nan")}, "best.value: found nan"),
        ("progress.best", {"value": 0.5}, "best.epoch: found nothing"),
        ("progress.last_evaluation", {"epoch": 0, "metrics": {"a": "b"}}, "metrics: found"),
    ],
)
def test_a_damaged_part_is_named(saved, path, value, wanted):
    *parents, last = path.split(".")
    part = saved
    for key in parents:
        part = part[key]
    part[last] = value
    with pytest.raises(CheckpointError, match=f"a.pdopt: .*{wanted}"):
        check_saved(saved, "a.pdopt")


@pytest.mark.parametrize(
    "section, change, wanted",
    [
        ("model", {"conv.weight": "a"}, "another model: 1 tensors .*conv.weight"),
        (
            "model",
            {"conv.weight": np.zeros((4, 3, 3, 1))},
            "another model: 1 tensors .*conv.weight",
        ),
        ("model", {7: np.zeros(1)}, "another model: 1 tensors .*7"),
        ("model", {"head.bias": np.full(2, np.nan)}, "head.bias holds NaN or infinite"),
        ("model", {"head.bias": np.array(["a", "b"])}, "head.bias holds <U1 instead of float32"),
        ("model", {"head.bias": np.zeros(2, np.int8)}, "head.bias holds int8 instead of float32"),
        ("optimizer", {"a/velocity": np.zeros(3)}, "optimizer: 1 tensors .*a/velocity"),
        ("optimizer", {"head.bias/velocity": np.full(2, np.inf)}, "head.bias/velocity holds NaN"),
    ],
)
def test_arrays_that_do_not_fit_are_named(toys, saved, section, change, wanted):
    saved[section].update(change)
    with pytest.raises(CheckpointError, match=f"a .*{wanted}"):
        toys.trainer().state.set_state_dict(saved, "a")


def test_an_optimizer_without_its_memory_is_no_state_to_resume(toys, saved):
    saved["optimizer"].clear()
    with pytest.raises(CheckpointError, match="optimizer: . tensors differ .*velocity"):
        toys.trainer().state.set_state_dict(saved)
    fresh = toys.trainer().state.state_dict()
    assert fresh["optimizer"] == {}
    assert toys.trainer().state.set_state_dict(fresh) == []


def test_an_average_that_does_not_fit_is_named(toys, saved):
    saved["ema"]["shadow"]["head.bias"] = np.zeros(3, np.float32)
    with pytest.raises(CheckpointError, match="ema: 1 tensors differ .*head.bias"):
        toys.trainer().state.set_state_dict(saved)
