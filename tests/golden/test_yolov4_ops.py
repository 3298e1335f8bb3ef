"""CmBN, weighted residuals and Mish against darknet."""

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.layers.activation import ACTIVATIONS
from ppdet_lite.modeling.layers.cross_mini_batch_norm import CrossMiniBatchNorm
from ppdet_lite.modeling.layers.weighted_residual import WeightedResidual
from tests.golden import yolov4_set as reference

pytestmark = pytest.mark.usefixtures("golden_yolov4")


def test_cross_mini_batch_norm():
    data = reference.arrays("cmbn/cmbn.npz")
    batches, count, n, channels = data["x"].shape[:4]
    norm = paddle.nn.BatchNorm2D(channels, momentum=0.99)
    for name in ("_mean", "_variance"):  # there they start at 0
        getattr(norm, name).set_value(np.zeros(channels, np.float32))
    norm.weight.set_value(data["gamma"].astype(np.float32))
    norm.bias.set_value(data["beta"].astype(np.float32))
    layer = CrossMiniBatchNorm(norm, count)
    layer.train()
    values = n * np.prod(data["x"].shape[4:])
    for batch in range(batches):
        for s in range(count):
            found = layer(paddle.to_tensor(data["x"][batch, s].astype(np.float32)))
            if batch == 0:
                np.testing.assert_allclose(found.numpy(), data["out_biased_batch0"][s], atol=1e-5)
            mean, variance, running_mean, _ = data["mean_var_runmean_runvar"][batch, s]
            np.testing.assert_allclose(layer._mean.numpy(), running_mean, atol=1e-5)
            # Darknet's variance is larger by the second moment over n - 1, but for what it cuts.
            x = data["x"][batch, : s + 1].astype(np.float64)
            squares = (x**2).mean(axis=(0, 1, 3, 4))
            biased = squares - mean**2
            np.testing.assert_allclose(variance - squares / (values - 1), biased, atol=1e-4)


@pytest.mark.parametrize("kind", ["per_feature", "per_channel"])
@pytest.mark.parametrize("normalization", ["none", "relu", "softmax"])
def test_weighted_residual(kind, normalization):
    data = reference.arrays("ops/ops.npz")
    maps = [data[key].astype(np.float32) for key in ("x", "add_0", "add_1")]
    channels = maps[0].shape[1] if kind == "per_channel" else None
    layer = WeightedResidual(len(maps), channels, normalization)
    layer.weight.set_value(data[f"miwrc_{kind}_{normalization}_w"].astype(np.float32))
    found = layer([paddle.to_tensor(x) for x in maps])
    np.testing.assert_allclose(found.numpy(), data[f"miwrc_{kind}_{normalization}"], atol=1e-5)


def test_mish():
    data = reference.arrays("ops/ops.npz")
    x = paddle.to_tensor(data["mish_x"].astype(np.float32), stop_gradient=False)
    y = ACTIVATIONS["mish"](x)
    y.sum().backward()
    np.testing.assert_allclose(y.numpy(), data["mish_y"], atol=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), data["mish_grad"], atol=1e-5)
