"""Batch norms folded into convolutions: the same maps, and the model itself stays as it was."""

import numpy as np
import paddle
import pytest
from paddle import nn

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.export.options import PLAIN
from ppdet_lite.export.rewrite.network import exported_network
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2

# Every backbone and neck among the shipped configurations.
NETWORKS = (
    "ppyolo/ppyolo_r50vd_dcn_1x_coco",
    "ppyolo/ppyolov2_r50vd_dcn_365e_coco",
    "ppyolo/ppyolo_mbv3_large_coco",
    "ppyolo/ppyolo_tiny_650e_coco",
    "yolov3/yolov3_darknet53_270e_coco",
    "yolox/yolox_s_300e_coco",
    "yolox/yolox_nano_300e_coco",
)


def trained_norms(model, seed=0):
    """Gives every batch norm statistics, scale and shift as training leaves them."""
    rng = np.random.default_rng(seed)
    for layer in model.sublayers(include_self=True):
        if isinstance(layer, nn.BatchNorm2D):
            count = layer._num_features
            for tensor, values in (
                (layer._mean, rng.normal(0, 0.3, count)),
                (layer._variance, rng.uniform(0.3, 2, count)),
                (layer.weight, rng.uniform(0.5, 1.5, count)),
                (layer.bias, rng.normal(0, 0.3, count)),
            ):
                tensor.set_value(values.astype(np.float32))
        elif isinstance(layer, DeformableConvV2):
            values = rng.normal(0, 0.2, layer.conv_offset.weight.shape)
            layer.conv_offset.weight.set_value(values.astype(np.float32))


def norms_of(model):
    return [layer for layer in model.sublayers() if isinstance(layer, nn.BatchNorm2D)]


@pytest.mark.parametrize("name", NETWORKS)
def test_folding_keeps_the_maps_of_every_network(name, repo):
    overrides = ["num_classes=3", "width_mult=0.125"]
    cfg = load_config(repo / "configs" / f"{name}.yml", overrides)
    paddle.seed(0)
    model = create(cfg.architecture, cfg)
    trained_norms(model)
    before = {key: value.numpy() for key, value in model.state_dict().items()}

    folded = exported_network(model, PLAIN)

    assert len(norms_of(model)) > 20 and norms_of(folded) == []
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before.pop(key), err_msg=key)
    assert not before
    assert all(layer.training for layer in model.sublayers(include_self=True))
    model.eval()
    image = paddle.to_tensor(np.random.default_rng(1).normal(0, 1, (2, 3, 64, 96)), "float32")
    with paddle.no_grad():
        expected, found = (part.neck(part.backbone(image)) for part in (model, folded))
        for one, other in zip(expected, found):
            one, other = one.numpy(), other.numpy()
            assert one.std() > 1e-4 * np.abs(one).max() > 0
            assert np.abs(one - other).max() < 2e-5 * np.abs(one).max()


def test_a_deformable_convolution_takes_the_norm_behind_it():
    paddle.seed(0)
    block = DeformableConvV2(8, 6, norm={})
    trained_norms(block)
    x = paddle.randn([1, 8, 7, 9])
    folded = exported_network(block, PLAIN)
    block.eval()
    assert block.conv.bias is None and folded.conv.bias.shape == [6]
    np.testing.assert_allclose(folded(x).numpy(), block(x).numpy(), atol=1e-5)


def test_folding_by_hand():
    conv = nn.Conv2D(1, 1, 1)
    norm = nn.BatchNorm2D(1, epsilon=0.0)
    for tensor, value in (
        (conv.weight, 3.0),
        (conv.bias, 1.0),
        (norm._mean, 2.0),
        (norm._variance, 4.0),
        (norm.weight, 5.0),
        (norm.bias, 7.0),
    ):
        tensor.set_value(np.full(tensor.shape, value, np.float32))
    folded = exported_network(nn.Sequential(conv, norm), PLAIN)
    # (3 x + 1 - 2) / 2 * 5 + 7
    assert folded[0].weight.item() == 7.5
    assert folded[0].bias.item() == 4.5
    assert isinstance(folded[1], nn.Identity)
    assert conv.weight.item() == 3.0 and conv.bias.item() == 1.0


def test_norms_without_a_convolution_of_theirs_stay():
    class Reversed(nn.Layer):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2D(4)
            self.conv = nn.Conv2D(4, 8, 1)
            self.other = nn.BatchNorm2D(4)

        def forward(self, x):
            return self.conv(self.other(self.norm(x)))

    model = Reversed()
    trained_norms(model)
    folded = exported_network(model, PLAIN)
    assert len(norms_of(folded)) == 2
    model.eval()
    x = paddle.randn([1, 4, 3, 3])
    np.testing.assert_array_equal(folded(x).numpy(), model(x).numpy())
