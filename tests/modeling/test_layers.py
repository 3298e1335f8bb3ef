"""Building blocks against their definitions."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from ppdet_lite.modeling.layers.activation import ACTIVATIONS
from ppdet_lite.modeling.layers.conv import (
    ConvBNLayer,
    CoordConv,
    append_coordinates,
    scale_channels,
)
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2
from ppdet_lite.modeling.layers.norm import batch_norm, synchronize_norms
from ppdet_lite.modeling.layers.regularization.drop_block import DropBlock
from ppdet_lite.modeling.layers.spp import SPP
from ppdet_lite.modeling.necks.pyramid import upsample_x2


def _noise(*shape, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return paddle.to_tensor(values)


def test_scale_channels():
    assert scale_channels(258, 1.0) == 258
    assert scale_channels(64, 0.25) == 16
    assert scale_channels(64, 0.01) == 8
    assert scale_channels(100, 0.5) == 48


def test_silu_of_a_graph_is_the_operator_that_onednn_fuses():
    x = paddle.linspace(-9, 9, 37)
    expected = x.numpy() / (1 + np.exp(-x.numpy()))
    np.testing.assert_allclose(ACTIVATIONS["silu"](x).numpy(), expected, atol=1e-6)
    spec = [paddle.static.InputSpec([37], "float32", "x")]
    graph = paddle.jit.to_static(ACTIVATIONS["silu"], input_spec=spec, full_graph=True)
    np.testing.assert_allclose(graph(x).numpy(), expected, atol=1e-6)
    program = str(graph.concrete_program.main_program)
    assert "swish" in program and "silu" not in program


def test_activations():
    x = paddle.to_tensor([-2.0, 0.0, 3.0])
    np.testing.assert_allclose(ACTIVATIONS["leaky"](x).numpy(), [-0.2, 0, 3], rtol=1e-6)
    mish = x.numpy() * np.tanh(np.log1p(np.exp(x.numpy())))
    np.testing.assert_allclose(ACTIVATIONS["mish"](x).numpy(), mish, rtol=1e-5)
    assert ACTIVATIONS[None] is None
    assert ACTIVATIONS["linear"] is None


def test_norm_attributes():
    norm = batch_norm(4, norm_decay=0.0, learning_rate=0.5)
    assert type(norm) is paddle.nn.BatchNorm2D
    for parameter in (norm.weight, norm.bias):
        assert parameter.regularizer._coeff == 0
        assert parameter.optimize_attr["learning_rate"] == 0.5


def test_frozen_norm_does_not_move():
    norm = batch_norm(4, freeze_norm=True)
    norm.train()
    x = _noise(2, 4, 3, 3) + 5
    np.testing.assert_allclose(norm(x).numpy(), x.numpy(), rtol=1e-4)
    np.testing.assert_array_equal(norm._mean.numpy(), np.zeros(4))
    assert norm.weight.stop_gradient
    assert norm.bias.stop_gradient


def test_synchronized_norms_keep_parameters_names_and_frozen_layers():
    model = paddle.nn.Sequential(
        ("stem", paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 1), batch_norm(4, freeze_norm=True))),
        ("block", ConvBNLayer(4, 4)),
    )
    before = model.state_dict()
    synchronize_norms(model)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(after[key] is before[key] for key in before)
    norm = model.block.batch_norm
    assert isinstance(norm, paddle.nn.SyncBatchNorm)
    assert norm.weight.regularizer._coeff == norm.bias.regularizer._coeff == 0
    assert type(model.stem[1]) is paddle.nn.BatchNorm2D


def test_deformable_conv_starts_as_half_an_ordinary_one():
    layer = DeformableConvV2(6, 5, 3, stride=2)
    x = _noise(2, 6, 9, 8)
    expected = 0.5 * F.conv2d(x, layer.conv.weight, stride=2, padding=1)
    np.testing.assert_allclose(layer(x).numpy(), expected.numpy(), atol=1e-5)
    assert layer.conv_offset.weight.shape == [27, 6, 3, 3]
    assert layer.conv.bias is None


def test_deformable_conv_offsets_move_y_before_x():
    layer = DeformableConvV2(1, 1, 1)
    layer.conv.weight.set_value(paddle.ones([1, 1, 1, 1]))
    layer.conv_offset.bias.set_value(paddle.to_tensor([1.0, 0.0, 100.0]))  # one row down, mask 1
    x = _noise(1, 1, 4, 4)
    moved = layer(x).numpy()[0, 0]
    np.testing.assert_allclose(moved[:-1], x.numpy()[0, 0, 1:], atol=1e-6)
    np.testing.assert_allclose(moved[-1], 0, atol=1e-6)


def test_drop_block_is_off_where_it_should_be():
    x = _noise(2, 3, 8, 8)
    layer = DropBlock(3, 0.9)
    layer.eval()
    assert layer(x) is x
    always = DropBlock(3, 1.0)
    always.train()
    assert always(x) is x


def test_drop_block_drops_blocks_of_single_channels():
    paddle.seed(3)
    layer = DropBlock(3, 0.9)
    layer.train()
    x = paddle.ones([4, 32, 20, 20])
    out = layer(x).numpy()
    kept = out > 0
    assert 0.88 < kept.mean() < 0.93  # overlapping squares leave a little more than 0.9
    np.testing.assert_allclose(out.mean(), 1, rtol=1e-5)
    assert not (kept[:, :1] == kept).all()  # channels draw for themselves
    # every dropped cell belongs to a dropped 3 x 3 square (cut off at the border)
    padded = np.pad(~kept, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=True)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3)).all((4, 5))
    covered = np.lib.stride_tricks.sliding_window_view(windows, (3, 3), axis=(2, 3)).any((4, 5))
    np.testing.assert_array_equal(covered, ~kept)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (4, 1)])
def test_drop_block_on_maps_smaller_than_the_block(size):
    paddle.seed(0)
    layer = DropBlock(7, 0.5)
    layer.train()
    out = layer(paddle.ones([2, 64, *size])).numpy()
    assert out.shape == (2, 64, *size)
    assert np.isfinite(out).all()
    assert (out == 0).any()


def test_drop_block_that_drops_everything_stays_finite():
    layer = DropBlock(1, 1e-9)
    layer.train()
    np.testing.assert_array_equal(layer(paddle.ones([1, 1, 2, 2])).numpy(), np.zeros((1, 1, 2, 2)))


@pytest.mark.parametrize("pool_sizes", [(5, 9, 13), (3, 7)])
def test_spp_equals_separate_pools(pool_sizes):
    layer = SPP(4, 6, pool_sizes, act="mish")
    layer.eval()
    x = _noise(2, 4, 10, 7)
    pools = [F.max_pool2d(x, size, stride=1, padding=size // 2) for size in pool_sizes]
    expected = layer.conv(paddle.concat([x, *pools], axis=1))
    np.testing.assert_array_equal(layer(x).numpy(), expected.numpy())


def test_coordinates_span_minus_one_to_one():
    out = append_coordinates(paddle.zeros([2, 1, 3, 5])).numpy()
    assert out.shape == (2, 3, 3, 5)
    np.testing.assert_allclose(out[1, 1], [[-1, -0.5, 0, 0.5, 1]] * 3, atol=1e-7)
    np.testing.assert_allclose(out[1, 2], np.array([[-1.0, 0, 1]]).T.repeat(5, 1), atol=1e-7)
    assert CoordConv(4, 6, 1)(_noise(1, 4, 2, 2)).shape == [1, 6, 2, 2]


def test_upsample_equals_nearest_neighbor_with_gradient():
    x = _noise(2, 3, 4, 5)
    x.stop_gradient = False
    out = upsample_x2(x)
    expected = x.numpy().repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_array_equal(out.numpy(), expected)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3, 4, 5), 4.0))


def test_conv_bn_layer_names_and_decay():
    layer = ConvBNLayer(3, 4, 3, stride=2, act=None)
    assert list(layer.state_dict()) == [
        "conv.weight",
        "batch_norm.weight",
        "batch_norm.bias",
        "batch_norm._mean",
        "batch_norm._variance",
    ]
    assert layer(_noise(1, 3, 8, 8)).shape == [1, 4, 4, 4]
