"""MobileNetV3: sizes, shapes, weight decay, learning rates, errors."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.backbones.mobilenet_v3 import MobileNetV3, round_channels

# Parameters of the networks as torchvision counts them, less the last convolution and the
# classifier. They have no expansion in the first block (16 to 16, with norm: 288 parameters), and
# round the hidden channels of squeeze-and-excitation to multiples of 8: h more of them are
# h (2 c + 1) parameters.
FIRST_EXPANSION = 16 * 16 + 2 * 16
LARGE = 5483032 - 155520 - 2511080 + FIRST_EXPANSION - 6 * 145 - 2 * 2 * 241
SMALL = 2542856 - 56448 - 1615848 + FIRST_EXPANSION - 4 * 33 - 2 * 4 * 481 - 2 * 241 - 4 * 289


@pytest.mark.parametrize("name, last, expected", [("large", 16, LARGE), ("small", 12, SMALL)])
def test_parameter_counts(name, last, expected):
    net = MobileNetV3(model_name=name, feature_maps=[last])
    assert sum(int(np.prod(p.shape)) for p in net.parameters() if not p.stop_gradient) == expected


@pytest.mark.parametrize(
    "name, scale, feature_maps, shapes",
    [
        ("large", 1.0, [1, 13, 16], [(16, 2), (112, 16), (160, 32)]),
        ("large", 0.5, [7, 13, 16], [(24, 8), (56, 16), (80, 32)]),
        ("small", 1.0, [9, 12], [(48, 16), (96, 32)]),
    ],
)
def test_shapes(name, scale, feature_maps, shapes):
    net = MobileNetV3(scale, name, feature_maps)
    net.eval()
    assert [tuple(shape) for shape in net.out_shape] == shapes
    with paddle.no_grad():
        maps = net(paddle.zeros([1, 3, 64, 96]))
    expected = [[1, channels, 64 // stride, 96 // stride] for channels, stride in shapes]
    assert [feature.shape for feature in maps] == expected


def test_blocks_behind_the_last_map_are_not_built():
    net = MobileNetV3(model_name="small", feature_maps=[4])
    assert {key.split(".")[0] for key in net.state_dict()} == {"conv1", "conv2", "conv3", "conv4"}


@pytest.mark.parametrize(
    "channels, expected", [(8, 8), (3, 8), (92, 96), (100, 104), (18, 24), (20, 24), (60, 64)]
)
def test_rounding_of_channels(channels, expected):
    assert round_channels(channels) == expected


def test_decay_and_rates_of_the_parameters():
    net = MobileNetV3(
        model_name="small",
        feature_maps=[12],
        lr_mult_list=[0.1, 0.2, 0.3],
        conv_decay=0.5,
        norm_decay=0.25,
    )
    found = {
        key: (p.regularizer._coeff, p.optimize_attr["learning_rate"])
        for key, p in net.named_parameters()
        if not p.stop_gradient
    }
    assert found["conv1.conv.weight"] == (0.5, 0.1)
    assert found["conv4.expand_conv.bn.bias"] == (0.25, 0.1)
    assert found["conv5.mid_se.conv1.bias"] == (0.5, 0.2)
    assert found["conv8.bottleneck_conv.conv.weight"] == (0.5, 0.3)
    assert found["conv12.linear_conv.bn.weight"] == (0.25, 0.3)


def test_frozen_norms_keep_their_statistics():
    net = MobileNetV3(0.5, "small", [3], freeze_norm=True)
    net.train()
    before = net.conv1.bn._mean.numpy()
    net(paddle.ones([2, 3, 32, 32]))
    np.testing.assert_array_equal(net.conv1.bn._mean.numpy(), before)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"model_name": "medium"}, "model_name: found 'medium', allowed: 'large' or 'small'"),
        ({"feature_maps": [17]}, r"feature_maps: found \[17\], allowed: numbers 1 to 16, rising"),
        ({"feature_maps": []}, r"feature_maps: found \[\]"),
        ({"feature_maps": [5, 3]}, r"feature_maps: found \[5, 3\]"),
        ({"scale": 0.0}, "scale: found 0.0, allowed"),
        ({"with_extra_blocks": True}, "with_extra_blocks: found True, allowed: false"),
        ({"lr_mult_list": []}, r"lr_mult_list: found \[\]"),
    ],
)
def test_errors(arguments, text):
    with pytest.raises(ConfigError, match=text):
        create("MobileNetV3", Config({"MobileNetV3": arguments}))
