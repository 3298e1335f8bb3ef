"""ResNet: sizes, names, freezing, learning rates, errors."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.backbones.resnet import ResNet

STEM_OF_D = 19232
"""Parameters that three 3x3 stem convolutions have more than one 7x7 (batch norms included)."""
FIRST_SHORTCUT = 64 * 64 + 2 * 64
"""The projection of res2a, which shallow ResNets elsewhere do without."""


def _trainable(layer):
    return sum(int(np.prod(p.shape)) for p in layer.parameters() if not p.stop_gradient)


def _resnet(**arguments):
    return ResNet(**{"variant": "d", "freeze_at": -1, "freeze_norm": False, **arguments})


# Counts of the well-known networks (arXiv:1512.03385, as commonly released) without classifier.
@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({"depth": 18}, 11689512 - 513000 + STEM_OF_D + FIRST_SHORTCUT),
        ({"depth": 34}, 21797672 - 513000 + STEM_OF_D + FIRST_SHORTCUT),
        ({"depth": 50}, 25557032 - 2049000 + STEM_OF_D),
        ({"depth": 50, "variant": "b"}, 25557032 - 2049000),
        ({"depth": 50, "dcn_v2_stages": [3]}, 25557032 - 2049000 + STEM_OF_D + 3 * 27 * (4608 + 1)),
        ({"depth": 101}, 44549160 - 2049000 + STEM_OF_D),
    ],
)
def test_parameter_counts(arguments, expected):
    assert _trainable(_resnet(**arguments)) == expected


def test_block_names_of_the_deep_network():
    names = {
        key.split(".")[1]
        for key in _resnet(depth=101, width_mult=0.125).state_dict()
        if ".res4" in "." + key
    }
    blocks = {name for name in names if name.startswith("res4")}
    assert blocks == {"res4a"} | {f"res4b{i}" for i in range(1, 23)}


@pytest.mark.parametrize(
    "depth, channels", [(18, [64, 128, 256, 512]), (50, [256, 512, 1024, 2048])]
)
def test_shapes(depth, channels):
    net = _resnet(depth=depth)
    net.eval()
    with paddle.no_grad():
        maps = net(paddle.zeros([1, 3, 64, 96]))
    assert [tuple(shape) for shape in net.out_shape] == list(zip(channels, [4, 8, 16, 32]))
    for feature, shape in zip(maps, net.out_shape):
        assert feature.shape == [1, shape.channels, 64 // shape.stride, 96 // shape.stride]


def test_return_idx_and_width():
    net = _resnet(depth=18, return_idx=[2, 3], width_mult=0.25, dcn_v2_stages=[3])
    net.eval()
    assert [tuple(shape) for shape in net.out_shape] == [(64, 16), (128, 32)]
    with paddle.no_grad():
        maps = net(paddle.zeros([2, 3, 32, 64]))
    assert [m.shape for m in maps] == [[2, 64, 2, 4], [2, 128, 1, 2]]
    assert "res5.res5a.branch2b.conv_offset.weight" in net.state_dict()
    assert "res4.res4a.branch2b.conv_offset.weight" not in net.state_dict()


@pytest.mark.parametrize("variant", ["a", "b", "c", "d"])
def test_variants_differ_where_they_should(variant):
    net = _resnet(depth=50, variant=variant, num_stages=2, return_idx=[1], width_mult=0.125)
    state = net.state_dict()
    assert ("conv1.conv1_1.conv.weight" in state) == (variant in "cd")
    assert ("conv1.conv1.conv.weight" in state) == (variant in "ab")
    assert ("res3.res3a.short.conv.conv.weight" in state) == (variant == "d")
    strides = {
        name: layer.conv._stride[0]
        for name, layer in net.named_sublayers()
        if name[-1] in "ab" and name.startswith("res3.res3a.branch")
    }
    first, second = strides["res3.res3a.branch2a"], strides["res3.res3a.branch2b"]
    assert (first, second) == ((2, 1) if variant == "a" else (1, 2))
    net.eval()
    assert net(paddle.zeros([1, 3, 32, 32]))[0].shape == [1, 64, 4, 4]


@pytest.mark.parametrize(
    "arguments, frozen",
    [
        ({"freeze_at": -1}, []),
        ({"freeze_at": 0}, ["conv1", "res2"]),
        ({"freeze_at": 1}, ["conv1", "res2", "res3"]),
        ({"freeze_at": 1, "freeze_stem_only": True}, ["conv1"]),
    ],
)
def test_freeze_at(arguments, frozen):
    net = _resnet(depth=18, width_mult=0.125, **arguments)
    trainable = {n.split(".")[0] for n, p in net.named_parameters() if not p.stop_gradient}
    assert trainable == {"conv1", "res2", "res3", "res4", "res5"} - set(frozen)


def test_freeze_norm_leaves_convolutions_trainable():
    net = _resnet(depth=18, width_mult=0.125, freeze_norm=True)
    net.train()
    before = {k: v.numpy().copy() for k, v in net.state_dict().items() if "norm" in k}
    loss = net(paddle.randn([2, 3, 32, 32]))[-1].sum()
    loss.backward()
    for key, value in net.state_dict().items():
        if "norm" in key:
            np.testing.assert_array_equal(value.numpy(), before[key])
    trainable = [n for n, p in net.named_parameters() if not p.stop_gradient]
    assert trainable
    assert not [n for n in trainable if "norm" in n]


def test_learning_rates_and_decay():
    net = _resnet(
        depth=18,
        width_mult=0.125,
        lr_mult_list=[0.1, 0.2, 0.3, 0.4],
        norm_decay=0.01,
        dcn_v2_stages=[3],
    )
    parameters = dict(net.named_parameters())
    rate = {n: p.optimize_attr["learning_rate"] for n, p in parameters.items()}
    assert rate["conv1.conv1_1.conv.weight"] == 1
    assert rate["res2.res2a.branch2a.conv.weight"] == 0.1
    assert rate["res5.res5b.branch2a.norm.weight"] == 0.4
    assert rate["res5.res5b.branch2b.conv.weight"] == 0.4
    assert rate["res5.res5b.branch2b.conv_offset.weight"] == 1
    assert parameters["res2.res2a.branch2a.norm.bias"].regularizer._coeff == 0.01
    assert parameters["res2.res2a.branch2a.conv.weight"].regularizer is None


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"depth": 20}, r"depth: found 20, allowed: 18 or 34 or 50 or 101 or 152"),
        ({"variant": "e"}, r"variant: found 'e', allowed: 'a' or 'b'"),
        ({"return_idx": [4]}, r"return_idx: found \[4\], allowed: numbers 0 to 3"),
        ({"return_idx": [3, 2]}, r"return_idx: found \[3, 2\]"),
        ({"return_idx": []}, r"return_idx: found \[\]"),
        ({"dcn_v2_stages": [5]}, r"dcn_v2_stages: found \[5\], allowed: stages 0 to 3"),
        ({"lr_mult_list": [1.0]}, r"lr_mult_list: found \[1.0\], allowed: 4 factors"),
        ({"num_stages": 5}, r"num_stages: found 5, allowed: 1 or 2 or 3 or 4"),
        ({"groups": 32}, r"groups: found 32, allowed: 1"),
        ({"std_senet": True}, r"std_senet: found True, allowed: false"),
        ({"data_format": "NHWC"}, r"data_format: found 'NHWC', allowed: 'NCHW'"),
    ],
)
def test_errors(arguments, text):
    with pytest.raises(ConfigError, match=text):
        create("ResNet", Config({"ResNet": arguments}))
