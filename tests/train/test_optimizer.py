"""Building optimizers from config keys, and their state by parameter key."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.train.ema import ModelEMA
from ppdet_lite.train.optimizer import (
    OptimizerBuilder,
    optimizer_state,
    restore_optimizer_state,
)


def net():
    return paddle.nn.Sequential(("a", paddle.nn.Linear(3, 2)), ("b", paddle.nn.Linear(2, 1)))


def one_step(model, optimizer, value=1.0):
    model(paddle.full([4, 3], value)).sum().backward()
    optimizer.step()
    optimizer.clear_grad()


@pytest.mark.parametrize(
    "settings, text",
    [
        ({"type": "Momentun"}, "found 'Momentun', allowed: Momentum, SGD, Adam, AdamW"),
        ({"type": "Momentum", "momentun": 0.9}, "momentun: unknown key of Momentum"),
        ({"type": "SGD", "momentum": 0.9}, "momentum: unknown key of SGD"),
        ({"momentum": "fast"}, "optimizer.momentum: found 'fast', allowed: 0 or more"),
        ({"momentum": None}, "optimizer.momentum: found None, allowed: 0 or more and below 1"),
        ({"momentum": 1.5}, "optimizer.momentum: found 1.5, allowed: 0 or more and below 1"),
        ({"momentum": -0.1}, "optimizer.momentum: found -0.1"),
        ({"type": "Adam", "beta1": 1.0}, "optimizer.beta1: found 1.0, allowed: .* below 1"),
        ({"type": "AdamW", "epsilon": 0}, "optimizer.epsilon: found 0, allowed: a number above 0"),
        ({"use_nesterov": 1}, "optimizer.use_nesterov: found 1, allowed: true or false"),
        ({"type": "AdamW", "lr_ratio": 5}, "lr_ratio: unknown key of AdamW"),
    ],
)
def test_wrong_settings_are_named(settings, text):
    with pytest.raises(ConfigError, match=text):
        OptimizerBuilder(optimizer=settings)


def test_the_ends_of_the_ranges():
    for settings in ({"momentum": 0}, {"momentum": 0.999}, {"type": "Adam", "beta1": 0.0}):
        assert OptimizerBuilder(optimizer=settings)(0.1, net().parameters())


@pytest.mark.parametrize(
    "regularizer, wanted",
    [
        ({"type": ["L2"]}, r"regularizer.type: found \['L2'\], allowed: L1, L2"),
        ({"type": "L2", "factor": "x"}, "regularizer.factor: found 'x', allowed: 0 or more"),
        ({"type": "L2", "factor": -1.0}, "regularizer.factor: found -1.0, allowed: 0 or more"),
    ],
)
def test_a_wrong_regularizer(regularizer, wanted):
    with pytest.raises(ConfigError, match=wanted):
        OptimizerBuilder(regularizer=regularizer)


def test_wrong_regularizer_and_two_clips():
    with pytest.raises(ConfigError, match="regularizer.type: found 'L3', allowed: L1, L2"):
        OptimizerBuilder(regularizer={"type": "L3"})
    with pytest.raises(ConfigError, match="not both"):
        OptimizerBuilder(clip_grad_by_norm=1.0, clip_grad_by_value=1.0)


def test_the_config_section(tmp_path):
    (tmp_path / "c.yml").write_text("OptimizerBuilder: {optimizer: {type: SGD}}")
    builder = create("OptimizerBuilder", load_config(tmp_path / "c.yml"))
    assert builder.regularizer == {"type": "L2", "factor": 0.0001}
    override = ["OptimizerBuilder.regularizer=false", "OptimizerBuilder.clip_grad_by_norm=35."]
    builder = create("OptimizerBuilder", load_config(tmp_path / "c.yml", override))
    assert not builder.regularizer and builder.clip_grad_by_norm == 35.0


def test_clip_by_value_and_frozen_parameters():
    model = net()
    model.a.weight.stop_gradient = True
    before = model.a.weight.numpy()
    bias = model.b.bias.numpy()
    builder = OptimizerBuilder(clip_grad_by_value=0.5, optimizer={"type": "SGD"})
    one_step(model, builder(1.0, model.parameters()))
    np.testing.assert_array_equal(model.a.weight.numpy(), before)
    np.testing.assert_allclose(model.b.bias.numpy(), bias - 0.5)  # the gradient is 4


@pytest.mark.parametrize("kind", ["Momentum", "Adam", "AdamW"])
def test_the_state_moves_to_a_process_with_other_layer_names(kind):
    def build(model):
        return OptimizerBuilder(None, None, None, {"type": kind})(0.1, model.parameters())

    first = net()
    optimizer = build(first)
    one_step(first, optimizer)
    state = optimizer_state(optimizer, first)
    assert any(key.startswith("a.weight/") for key in state)

    paddle.nn.Linear(1, 1)  # shifts Paddle's counters
    second = net()
    second.set_state_dict({k: v.numpy() for k, v in first.state_dict().items()})
    other = build(second)
    restore_optimizer_state(other, second, state)
    for value in (1.0, -2.0):
        one_step(first, optimizer, value)
        one_step(second, other, value)
    for ours, theirs in zip(first.parameters(), second.parameters()):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_state_of_other_parameters_is_refused():
    model = net()
    optimizer = OptimizerBuilder()(0.1, model.parameters())
    one_step(model, optimizer)
    state = optimizer_state(optimizer, model)
    state.pop("a.weight/velocity")
    twin = net()
    with pytest.raises(KeyError, match="1 tensors differ .*for instance a.weight/velocity"):
        restore_optimizer_state(OptimizerBuilder()(0.1, twin.parameters()), twin, state)


def test_adamw_leaves_out_parameters_without_decay():
    model = paddle.nn.Linear(
        2, 2, bias_attr=paddle.ParamAttr(regularizer=paddle.regularizer.L2Decay(0.0))
    )
    model.weight.set_value(np.ones((2, 2), "float32"))
    model.bias.set_value(np.ones(2, "float32"))
    builder = OptimizerBuilder(None, None, {"type": "L2", "factor": 0.5}, {"type": "AdamW"})
    optimizer = builder(0.1, model.parameters())
    (model(paddle.zeros([1, 2])).sum() * 0.0).backward()
    optimizer.step()
    np.testing.assert_allclose(model.weight.numpy(), 0.95)
    np.testing.assert_allclose(model.bias.numpy(), 1.0)


def test_ema_kinds_and_frozen_parameters():
    model = net()
    model.a.weight.stop_gradient = True
    average = ModelEMA(model, 0.9, kind="normal", filter_no_grad=True)
    fresh = average.averaged(model)
    np.testing.assert_array_equal(fresh["b.weight"].numpy(), model.b.weight.numpy())
    average.update(model)
    first = model.b.weight.numpy()
    model.b.weight.set_value(first + 1)
    average.update(model)
    # weights 0.1 and 0.09 of the two values, divided by 1 - 0.9 ** 2
    expected = (0.09 * first + 0.1 * (first + 1)) / 0.19
    np.testing.assert_allclose(average.averaged(model)["b.weight"].numpy(), expected, rtol=1e-5)
    assert "a.weight" not in average.state_dict()["shadow"]
    np.testing.assert_array_equal(
        average.averaged(model)["a.weight"].numpy(), model.a.weight.numpy()
    )
    with pytest.raises(ConfigError, match="found 'linear', allowed: threshold"):
        ModelEMA(model, 0.9, kind="linear")
    with pytest.raises(KeyError, match="ema: 3 tensors differ"):
        average.set_state_dict({"step": 1, "shadow": {}})


@pytest.mark.parametrize("key", ["clip_grad_by_norm", "clip_grad_by_value"])
def test_a_clip_that_would_turn_or_stop_the_gradients_is_refused(key):
    for value in (-1.0, 0, float("nan")):
        with pytest.raises(ConfigError, match=f"{key}: found {value}, allowed: a number above 0"):
            OptimizerBuilder(**{key: value})
