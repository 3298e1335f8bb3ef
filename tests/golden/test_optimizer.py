"""Learning rate, weight decay, momentum steps and EMA against the reference's numbers."""

import json

import numpy as np
import paddle
import pytest
from paddle.regularizer import L2Decay

from ppdet_lite.core.workspace import create
from ppdet_lite.train.ema import ModelEMA
from ppdet_lite.train.optimizer import OptimizerBuilder
from ppdet_lite.train.schedule import (
    CosineDecay,
    ExpWarmup,
    LearningRate,
    LinearWarmup,
    PiecewiseDecay,
)

SCHEDULES = {
    "ppyolov2_r50vd_dcn_365e_coco": (
        365,
        LearningRate(
            0.005, [PiecewiseDecay(0.1, [243]), LinearWarmup(steps=4000, start_factor=0.0)]
        ),
    ),
    "ppyolo_tiny_650e_coco": (
        650,
        LearningRate(
            0.005,
            [PiecewiseDecay(0.1, [430, 540, 610]), LinearWarmup(steps=4000, start_factor=0.0)],
        ),
    ),
    "yolox_s_300e_coco": (
        300,
        LearningRate(
            0.01,
            [CosineDecay(300, min_lr_ratio=0.05, last_plateau_epochs=15), ExpWarmup(epochs=5)],
        ),
    ),
}


def reference(golden, name):
    return json.loads((golden / "optimizer" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rate_at_every_listed_iteration(golden, name):
    epochs, curve = SCHEDULES[name]
    expected = reference(golden, name)["lr_at_iteration"]
    found = {i: curve.at(int(i), steps_per_epoch=100, epochs=epochs) for i in expected}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


class _Toy(paddle.nn.Layer):
    def __init__(self, w, b):
        super().__init__()
        self.w = self.create_parameter([len(w)])
        self.b = self.create_parameter([len(b)], attr=paddle.ParamAttr(regularizer=L2Decay(0.0)))
        self.w.set_value(np.float32(w))
        self.b.set_value(np.float32(b))


@pytest.mark.parametrize("name", SCHEDULES)
def test_six_steps_of_the_toy_problem(golden, name):
    expected = reference(golden, name)
    toy = expected["toy"]
    model = _Toy(toy["w0"], toy["b0"])
    builder = OptimizerBuilder(
        clip_grad_by_norm=expected["clip_grad_by_global_norm"],
        regularizer={"type": "L2", "factor": expected["global_l2"]},
        optimizer={
            "type": expected["type"],
            "momentum": expected["momentum"],
            "use_nesterov": expected["use_nesterov"],
        },
    )
    optimizer = builder(toy["lr"], model.parameters())
    for grad_w, grad_b, after in zip(toy["grad_w"], toy["grad_b"], toy["after"]):
        loss = (model.w * paddle.to_tensor(grad_w, dtype="float32")).sum()
        loss += (model.b * paddle.to_tensor(grad_b, dtype="float32")).sum()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        np.testing.assert_allclose(model.w.numpy(), after["w"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(model.b.numpy(), after["b"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["threshold", "exponential"])
def test_ema_of_a_counting_parameter(golden, kind):
    expected = reference(golden, "ema")[kind]
    model = paddle.nn.Layer()
    model.x = model.create_parameter([1])
    average = ModelEMA(model, decay=expected["decay"], kind=kind)
    for step, value, decay, _shadow, read_out in expected["rows"]:
        model.x.set_value(np.float32([value]))
        average.update(model)
        assert average.decay_at(step) == pytest.approx(decay, rel=1e-6)
        found = average.averaged(model)["x"].item()
        assert found == pytest.approx(read_out, rel=1e-5, abs=1e-5)
        shadow = average.state_dict()["shadow"]["x"].item()
        assert shadow == pytest.approx(_shadow, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_decay_and_rate_multiplier_of_every_parameter(name, golden, golden_config, golden_model):
    cfg = golden_config(name)
    expected = reference(golden, name)
    builder, curve = create("OptimizerBuilder", cfg), create("LearningRate", cfg)
    assert builder.clip_grad_by_norm == expected["clip_grad_by_global_norm"]
    assert builder.regularizer == {"type": "L2", "factor": expected["global_l2"]}
    assert (cfg.use_ema, cfg.ema_decay) == (True, expected["ema"]["decay"])
    assert cfg.get("ema_decay_type", "threshold") == expected["ema"]["type"]
    rates = {
        i: curve.at(int(i), steps_per_epoch=100, epochs=cfg.epoch)
        for i in expected["lr_at_iteration"]
    }
    assert rates == pytest.approx(expected["lr_at_iteration"], rel=1e-9, abs=1e-15)

    found = {}
    for key, parameter in golden_model(name)[0].named_parameters():
        if not parameter.stop_gradient:
            own = parameter.regularizer
            decay = expected["global_l2"] if own is None else own._coeff
            found[key] = [decay, parameter.optimize_attr["learning_rate"]]
    assert found == expected["params"]
