"""The options of YOLOv4's paper: what each layer computes, by hand and by its invariants."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import Config, create
from ppdet_lite.modeling.backbones.csp_darknet53 import CSPDarknet53
from ppdet_lite.modeling.layers.cross_mini_batch_norm import (
    CrossMiniBatchNorm,
    gather_over_mini_batches,
)
from ppdet_lite.modeling.layers.norm import batch_norm
from ppdet_lite.modeling.layers.regularization.growing_drop_block import GrowingDropBlock
from ppdet_lite.modeling.layers.residual import ResidualUnit
from ppdet_lite.modeling.layers.spatial_attention import PointwiseAttention
from ppdet_lite.modeling.layers.weighted_residual import WeightedResidual
from ppdet_lite.modeling.necks.yolov4_pan import YOLOv4CSPPAN, YOLOv4PAN


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, shape).astype(np.float32)


def run_and_pull(layer, x, pull):
    """Output, gradient of the input and of scale and shift under a weighted sum."""
    given = paddle.to_tensor(x, stop_gradient=False)
    out = layer(given)
    (out * paddle.to_tensor(pull)).sum().backward()
    found = [t.numpy() for t in (out, given.grad, layer.weight.grad, layer.bias.grad)]
    layer.clear_gradients()
    return found


def test_one_mini_batch_is_an_ordinary_norm():
    x, pull = values(3, 4, 5, 6), values(3, 4, 5, 6, seed=1)
    norm = batch_norm(4)
    norm.weight.set_value(values(4, seed=2))
    layer = CrossMiniBatchNorm(batch_norm(4), 1)
    layer.weight.set_value(norm.weight)
    for _ in range(2):
        for a, b in zip(run_and_pull(layer, x, pull), run_and_pull(norm, x, pull)):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)
    for name in ("_mean", "_variance"):
        np.testing.assert_allclose(getattr(layer, name).numpy(), getattr(norm, name), rtol=1e-5)


def test_statistics_gather_and_start_anew():
    """The second of two equal-sized mini-batches sees the statistics of both."""
    layer, both = CrossMiniBatchNorm(batch_norm(4), 2), values(6, 4, 5, 6)
    joined = batch_norm(4)(paddle.to_tensor(both)).numpy()
    for _ in range(2):
        first = layer(paddle.to_tensor(both[:3])).numpy()
        second = layer(paddle.to_tensor(both[3:])).numpy()
        np.testing.assert_allclose(second, joined[3:], atol=1e-5)
        alone = batch_norm(4)(paddle.to_tensor(both[:3])).numpy()
        np.testing.assert_allclose(first, alone, atol=1e-5)


def test_evaluation_uses_running_statistics_and_does_not_count():
    layer, x = CrossMiniBatchNorm(batch_norm(4), 2), paddle.to_tensor(values(3, 4, 5, 6))
    layer(x)
    layer.eval()
    expected = batch_norm(4)
    expected.set_state_dict(layer.state_dict())
    expected.eval()
    np.testing.assert_array_equal(layer(x).numpy(), expected(x).numpy())
    layer.train()
    other = paddle.to_tensor(values(3, 4, 5, 6, seed=3))
    joined = batch_norm(4)(paddle.concat([x, other])).numpy()[3:]
    np.testing.assert_allclose(layer(other).numpy(), joined, atol=1e-5)


def test_norms_of_a_model_are_replaced_with_their_parameters():
    model = paddle.nn.Sequential(ResidualUnit(4, 2), batch_norm(4, freeze_norm=True))
    before, parameters = list(model.state_dict()), {id(p) for p in model.parameters()}
    gather_over_mini_batches(model, 3)
    assert list(model.state_dict()) == before
    assert {id(p) for p in model.parameters()} == parameters
    kinds = [type(layer).__name__ for layer in model.sublayers() if hasattr(layer, "_variance")]
    assert kinds == ["CrossMiniBatchNorm", "CrossMiniBatchNorm", "BatchNorm2D"]


def test_attention_by_its_formula():
    layer, x = PointwiseAttention(6), paddle.to_tensor(values(2, 6, 3, 4))
    layer.eval()
    kernel = layer.conv.conv.weight.numpy()[:, :, 0, 0]
    logits = np.einsum("oc,bchw->bohw", kernel, x.numpy()) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(layer(x).numpy(), x.numpy() / (1 + np.exp(-logits)), rtol=1e-4)


@pytest.mark.parametrize("neck, count", [(YOLOv4PAN, 4), (YOLOv4CSPPAN, 4)])
def test_attention_in_the_necks(neck, count):
    shapes = [(32, 16), (64, 8), (128, 4)]
    maps = [paddle.to_tensor(values(1, channels, side, side)) for channels, side in shapes]
    layer = neck(in_channels=[channels for channels, _ in shapes], sam=True, width_mult=0.125)
    found = [part for part in layer.sublayers() if isinstance(part, PointwiseAttention)]
    assert len(found) == count
    assert [m.shape for m in layer(maps)] == [[1, 16, 16, 16], [1, 32, 8, 8], [1, 64, 4, 4]]


def test_weights_of_a_residual():
    layer = WeightedResidual(2)
    np.testing.assert_allclose(layer.shares().numpy(), [[1 / 2.0001]] * 2, rtol=1e-6)
    unit, x = ResidualUnit(4, 2, weighted="relu"), paddle.to_tensor(values(2, 4, 3, 3))
    unit.eval()
    unit.merge.weight.set_value(np.array([0.0, 3.0], np.float32))  # of the input alone
    np.testing.assert_allclose(unit(x).numpy(), 3 / 3.0001 * x.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    "progress, expected",
    [(0.0, (0.0, 1)), (0.425, (0.05 / 9, 3)), (0.85, (0.1 / 49, 7)), (1.0, (0.1 / 49, 7))],
)
def test_growth_of_drop_block(progress, expected):
    layer = GrowingDropBlock(0.1, 7)
    layer.progress = progress
    assert layer.current(20, 30) == pytest.approx(expected)


def test_size_of_drop_block_follows_the_map():
    layer = GrowingDropBlock(0.1, 7)
    layer.progress = 1.0
    assert layer.current(5, 30) == pytest.approx((0.1 / 25, 5))
    relative = GrowingDropBlock(0.1, relative_size=0.25)
    relative.progress = 1.0
    assert relative.current(20, 30) == pytest.approx((0.1 / 25, 5))


def test_drop_block_drops_one_square_per_channel():
    paddle.seed(0)
    layer = GrowingDropBlock(0.9, 3)
    x = paddle.ones([4, 50, 9, 12])
    assert layer(x) is x  # nothing has grown yet
    layer.progress = 1.0
    found = layer(x).numpy()
    dropped = found == 0
    per_channel = dropped.sum(axis=(2, 3))
    assert set(np.unique(per_channel)) <= {0, 9}
    share = (per_channel > 0).mean()
    assert share > 0.99  # 1 - 0.9^108
    rows = dropped.any(axis=3).sum(axis=2)[per_channel > 0]
    columns = dropped.any(axis=2).sum(axis=2)[per_channel > 0]
    assert set(rows) == set(columns) == {3}
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), 1, rtol=1e-5)
    layer.eval()
    assert layer(x) is x


def test_drop_block_is_rare_at_a_low_rate():
    paddle.seed(0)
    layer = GrowingDropBlock(0.02, 2)
    layer.progress = 1.0
    found = layer(paddle.ones([8, 200, 10, 10])).numpy()
    share = (found == 0).any(axis=(2, 3)).mean()
    assert share == pytest.approx(1 - (1 - 0.005) ** 100, abs=0.05)


def test_options_of_the_backbone():
    plain = CSPDarknet53(width_mult=0.125)
    full = CSPDarknet53(width_mult=0.125, weighted_residual="softmax", drop_block=True)
    extra = set(full.state_dict()) - set(plain.state_dict())
    assert len(extra) == 23 and all(key.endswith("merge.weight") for key in extra)
    drops = [name for name, part in full.named_sublayers() if isinstance(part, GrowingDropBlock)]
    assert drops == ["stages.3.drop", "stages.4.drop"]
    assert create("CSPDarknet53", Config({"CSPDarknet53": {"drop_block": True}})).stages[4].drop
