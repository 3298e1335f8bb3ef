"""DarkNet-53: size, shapes, names, freezing, errors."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.backbones.darknet import DarkNet


def test_parameter_count_of_the_well_known_network():
    """As in the classifier that the paper's author released, without its 1024 x 1000 layer."""
    count = sum(int(np.prod(p.shape)) for p in DarkNet().parameters() if not p.stop_gradient)
    assert count == 41609928 - 1025000


def test_shapes():
    net = DarkNet(width_mult=0.25, return_idx=[0, 2, 3, 4])
    net.eval()
    with paddle.no_grad():
        maps = net(paddle.zeros([1, 3, 64, 96]))
    assert [tuple(s) for s in net.out_shape] == [(16, 2), (64, 8), (128, 16), (256, 32)]
    for feature, shape in zip(maps, net.out_shape):
        assert feature.shape == [1, shape.channels, 64 // shape.stride, 96 // shape.stride]


def test_names_of_the_released_weights():
    keys = set(DarkNet(width_mult=0.125).state_dict())
    assert "stage.1.basicblock0.conv1.conv.weight" in keys
    assert "stage.1.stage.1.1.conv2.batch_norm._mean" in keys
    assert "stage.3.downsample.conv_bn_layer.conv.weight" in keys
    assert not any(key.startswith("stage.4.downsample") for key in keys)


def test_freezing_ends_before_the_way_to_the_next_stage():
    net = DarkNet(width_mult=0.125, freeze_at=1)
    frozen = {key for key, p in net.named_parameters() if p.stop_gradient and "._" not in key}
    assert "conv0.conv.weight" in frozen
    assert "stage.0.downsample.conv_bn_layer.conv.weight" in frozen
    assert "stage.1.stage.1.1.conv2.batch_norm.bias" in frozen
    assert "stage.1.downsample.conv_bn_layer.conv.weight" not in frozen
    assert not any(key.startswith("stage.2") for key in frozen)


def test_decay_of_the_norms():
    net = DarkNet(width_mult=0.125, norm_decay=0.25)
    norms = [p for key, p in net.named_parameters() if key.endswith("batch_norm.weight")]
    assert {p.regularizer._coeff for p in norms} == {0.25}


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"depth": 19}, "depth: found 19, allowed: 53"),
        ({"num_stages": 6}, "num_stages: found 6, allowed: 1 or 2"),
        ({"num_stages": 3}, r"return_idx: found \[2, 3, 4\], allowed: numbers 0 to 2"),
        ({"return_idx": [3, 2]}, r"return_idx: found \[3, 2\]"),
        ({"data_format": "NHWC"}, "data_format: found 'NHWC'"),
    ],
)
def test_errors(arguments, text):
    with pytest.raises(ConfigError, match=text):
        create("DarkNet", Config({"DarkNet": {"width_mult": 0.125, **arguments}}))
