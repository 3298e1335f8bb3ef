"""The recipe of ASFF's YOLOv3: its rate, its DropBlock and its mixup follow the epoch."""

import math

import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.modeling.layers.regularization.drop_block import SteppedDropBlock
from ppdet_lite.modeling.necks.route_fpn import YOLOv3RouteFPN
from ppdet_lite.train.epoch_cosine import EpochCosineDecay


def test_rate_of_every_epoch(repo):
    curve = create("LearningRate", load_config(repo / "configs/asff/yolov3_asff_coco.yml"))
    assert [curve.at(10 * e + 5, 10, 300) for e in (0, 2)] == pytest.approx(
        [1e-3 * (0.5 / 5) ** 4, 1e-3 * (2.5 / 5) ** 4]
    )
    assert {curve.at(i, 10, 300) for i in range(50, 210)} == {1e-3}
    for epoch in (21, 100, 270):
        progress = (epoch - 20) / 250
        expected = 1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + math.cos(math.pi * progress))
        found = [curve.at(10 * epoch + i, 10, 300) for i in range(10)]
        assert found == pytest.approx([expected] * 10, rel=1e-9)
    assert curve.at(2999, 10, 300) == pytest.approx(1e-5)


def test_schedules_that_do_not_fit():
    with pytest.raises(ConfigError, match="start_epoch: found 270"):
        EpochCosineDecay(270, 270)
    assert "270" in EpochCosineDecay(20, 270).mismatch(100)
    assert not EpochCosineDecay(20, 270).mismatch(300)


def test_squares_grow_with_the_epoch(repo):
    cfg = load_config(repo / "configs/asff/yolov3_asff_star_coco.yml", ["width_mult=0.125"])
    model = create("YOLOv3", cfg)
    layers = [layer for layer in model.sublayers() if isinstance(layer, SteppedDropBlock)]
    model.train()
    x = paddle.ones([4, 8, 16, 16])
    for epoch, sides in {4: None, 5: [1, 3, 5], 80: [3, 5, 7], 299: [7, 7, 7]}.items():
        for layer in layers:
            layer.progress = epoch / 300
        changed = [bool((layer(x) != x).any()) for layer in layers]
        assert changed == [sides is not None] * 3
        assert sides is None or [layer.block_size for layer in layers] == sides
    assert cfg.TrainReader["mixup_epoch"] == 272


@pytest.mark.parametrize("steps", [[[5, [1, 3]]], [[5]], [["5", [1, 3, 5]]]])
def test_steps_of_another_form(steps):
    with pytest.raises(ConfigError, match="drop_steps: found"):
        YOLOv3RouteFPN((8, 8, 8), drop_block=True, drop_steps=steps)
