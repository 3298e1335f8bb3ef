"""Mixed precision: what Paddle is asked for (it only does it on a GPU)."""

import contextlib

import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.settings import RuntimeSettings
from ppdet_lite.core.workspace import load_config
from ppdet_lite.train.mixed_precision import Precision

SETTINGS = {
    "amp": True,
    "init_loss_scaling": 512.0,
    "custom_white_list": ["matmul"],
    "custom_black_list": ["softmax"],
}


@pytest.fixture
def asked(monkeypatch):
    """Arguments of Paddle's functions, in the order of the calls."""
    calls = []

    def auto_cast(**arguments):
        calls.append(("auto_cast", arguments))
        return contextlib.nullcontext()

    def decorate(**arguments):
        calls.append(("decorate", arguments))
        return arguments["models"], arguments["optimizers"]

    class GradScaler:
        def __init__(self, init_loss_scaling):
            calls.append(("GradScaler", {"init_loss_scaling": init_loss_scaling}))

    monkeypatch.setattr(paddle.amp, "auto_cast", auto_cast)
    monkeypatch.setattr(paddle.amp, "decorate", decorate)
    monkeypatch.setattr(paddle.amp, "GradScaler", GradScaler)
    return calls


def on_gpu(level, **settings):
    return Precision(RuntimeSettings(**SETTINGS, amp_level=level, **settings), "gpu:0")


def forward(level):
    """What `auto_cast` gets under SETTINGS."""
    lists = {"custom_white_list": ["matmul"], "custom_black_list": ["softmax"]}
    return "auto_cast", {**lists, "level": level, "dtype": "float16"}


def test_o1_casts_operators_in_training_only(asked):
    precision = on_gpu("O1")
    assert precision.prepare("model", "optimizer") == ("model", "optimizer")
    with precision.autocast(), precision.evaluation():
        pass
    assert asked == [("GradScaler", {"init_loss_scaling": 512.0}), forward("O1")]


def test_o2_casts_the_network_and_evaluates_it_like_that(asked):
    precision = on_gpu("O2", master_grad=True)
    precision.prepare("model", "optimizer")
    with precision.autocast():
        pass
    with precision.evaluation():
        pass
    prepared = {"models": "model", "optimizers": "optimizer", "level": "O2", "dtype": "float16"}
    assert asked[1:] == [
        ("decorate", {**prepared, "master_grad": True}),
        forward("O2"),
        forward("O2"),
    ]


def test_the_trained_model_is_evaluated_in_its_precision(toys, asked):
    trainer = toys.trainer()
    with trainer.state.evaluation_weights():
        assert asked == []
    trainer.state.precision = on_gpu("O2")
    del asked[:]
    with trainer.state.evaluation_weights():
        assert asked == [forward("O2")]


def test_without_amp_nothing_is_asked_for(asked):
    precision = Precision(RuntimeSettings(amp=False, amp_level="O2"), "gpu:0")
    precision.prepare("model", "optimizer")
    with precision.autocast(), precision.evaluation():
        pass
    assert asked == []


def test_it_is_refused_where_it_has_no_effect(repo):
    with pytest.raises(ConfigError, match="`amp`: .*needs a GPU.*amp=false"):
        Precision(RuntimeSettings(amp=True), "cpu")
    with pytest.raises(ConfigError, match="amp_level: found 'O3'.*'O1' or 'O2'"):
        load_config(repo / "configs/yolox/yolox_s_300e_coco.yml", ["amp_level=O3"])


def test_the_scale_of_a_checkpoint_is_checked():
    class Scaler:
        loaded = None

        def state_dict(self):
            return {"scale": [1.0], "incr_count": 0}

        def load_state_dict(self, state):
            self.loaded = state

    precision = Precision()
    precision.scaler = Scaler()
    precision.set_state_dict({})
    assert precision.scaler.loaded is None
    precision.set_state_dict({"scale": [2.0], "incr_count": 1})
    assert precision.scaler.loaded == {"scale": [2.0], "incr_count": 1}
    with pytest.raises(KeyError, match="scaler: incr_count"):
        precision.set_state_dict({"scale": [2.0]})
