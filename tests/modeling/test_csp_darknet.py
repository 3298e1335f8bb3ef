"""The backbone of YOLOX and its blocks."""

import math

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.backbones.csp_darknet import CSPDarkNet
from ppdet_lite.modeling.layers.csp import CSPLayer, Focus, SPPLayer

SIZE = (64, 96)


def test_focus_orders_the_pixels_of_a_square_by_columns():
    focus = Focus(1, 4, 1, act=None)
    weight = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    focus.conv.conv.weight.set_value(weight)
    focus.eval()
    x = paddle.arange(16, dtype="float32").reshape([1, 1, 4, 4])
    found = focus(x).numpy()[0] * math.sqrt(1 + 1e-5)
    expected = [x.numpy()[0, 0, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-6)


def test_pools_of_5_9_and_13_equal_three_pools_of_5_in_a_row():
    layer = SPPLayer(4, 4, act=None)
    layer.eval()
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((1, 4, 16, 16)).astype("float32"))
    hidden = layer.conv1(x)
    pools = [hidden] + [
        paddle.nn.functional.max_pool2d(hidden, size, 1, size // 2) for size in (5, 9, 13)
    ]
    expected = layer.conv2(paddle.concat(pools, axis=1))
    np.testing.assert_array_equal(layer(x).numpy(), expected.numpy())


def test_bottlenecks_add_their_input_only_with_a_shortcut():
    x = paddle.ones([1, 4, 4, 4])
    for shortcut in (True, False):
        layer = CSPLayer(4, 4, 1, shortcut)
        block = layer.bottlenecks[0]
        block.conv2.conv.weight.set_value(np.zeros(block.conv2.conv.weight.shape, np.float32))
        layer.eval()
        before = layer.conv1(x).numpy()
        found = layer.bottlenecks(layer.conv1(x)).numpy()
        np.testing.assert_array_equal(found, before if shortcut else np.zeros_like(before))


@pytest.mark.parametrize("arch, depths", [("X", [3, 9, 9, 3]), ("P5", [3, 6, 9, 3])])
def test_backbone_maps(arch, depths):
    backbone = CSPDarkNet(arch, width_mult=0.125, return_idx=[1, 2, 3, 4])
    maps = backbone(paddle.zeros([1, 3, *SIZE]))
    assert [tuple(shape) for shape in backbone.out_shape] == [(16, 4), (32, 8), (64, 16), (128, 32)]
    for found, shape in zip(maps, backbone.out_shape):
        expected = [1, shape.channels, SIZE[0] // shape.stride, SIZE[1] // shape.stride]
        assert found.shape == expected
    layers = [part for part in backbone.sublayers() if isinstance(part, CSPLayer)]
    assert [len(layer.bottlenecks) for layer in layers] == depths
    shortcuts = [layer.bottlenecks[0]._shortcut for layer in layers]
    assert shortcuts == [True, True, True, arch == "P5"]
