"""Layers written in another form for CPUs: the same maps, and only where it pays."""

import numpy as np
import paddle
import pytest
from paddle import nn

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.export.options import ExportOptions, Limits
from ppdet_lite.export.rewrite.cpu_forms import replace_layers, target_of
from ppdet_lite.export.rewrite.gathered_deform_conv import GatheredDeformConv2D
from ppdet_lite.export.rewrite.network import exported_network
from ppdet_lite.export.rewrite.winograd_conv import (
    WinogradConv2D,
    is_winograd_form,
    winograd_matrices,
)
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2, SampledConv2D


def random(*shape, seed=0, scale=1.0):
    values = np.random.default_rng(seed).standard_normal(shape) * scale
    return paddle.to_tensor(values.astype(np.float32))


# ---------------------------------------------------------------------------------------- Winograd
@pytest.mark.parametrize(
    ("tile", "taps", "points"),
    [(2, 3, (0, 1, -1)), (4, 3, (0, 1, -1, 2, -2)), (3, 2, (0, 1, -1)), (4, 3, None)],
)
def test_matrices_give_every_sum_of_products(tile, taps, points):
    b, g, a = winograd_matrices(tile, taps, *([points] if points else []))
    rng = np.random.default_rng(0)
    inputs, weights = rng.standard_normal(tile + taps - 1), rng.standard_normal(taps)
    expected = [inputs[i : i + taps] @ weights for i in range(tile)]
    np.testing.assert_allclose(a @ ((g @ weights) * (b @ inputs)), expected, atol=1e-13)


def test_matrices_of_the_usual_points():
    """F(2, 3) of arXiv:1509.09308, equation 6, up to signs that cancel between B and G."""
    b, g, a = winograd_matrices(2, 3, (0, 1, -1))
    signs = np.array([[-1], [1], [1], [1]])
    np.testing.assert_allclose(
        b * signs, [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    )
    np.testing.assert_allclose(g * signs, [[1, 0, 0], [0.5] * 3, [0.5, -0.5, 0.5], [0, 0, 1]])
    np.testing.assert_allclose(a, [[1, 1, 1, 0], [0, 1, -1, 1]])


def test_the_points_round_less_than_half_as_badly_as_the_usual_ones():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((50, 256, 6, 6)).astype(np.float32)
    weights = rng.standard_normal((256, 3, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(inputs.astype(np.float64), (3, 3), (2, 3))
    expected = np.einsum("ncijab,cab->nij", windows, weights)

    def error(*points):
        b, g, a = winograd_matrices(4, 3, *points)
        filters = np.einsum("ia,cab,jb->cij", g, weights, g).astype(np.float32)
        b, a = b.astype(np.float32), a.astype(np.float32)
        products = np.einsum("cij,ncij->nij", filters, b @ inputs @ b.T)
        return np.sqrt(np.square(a @ products @ a.T - expected).mean())

    assert error() < 0.5 * error((0, 1, -1, 2, -2))


@pytest.mark.parametrize("bias", [None, False])
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 9, 14), (2, 1, 3), (1, 4, 31)])
def test_winograd_gives_the_maps_of_the_convolution(size, bias):
    batch, height, width = size
    paddle.seed(0)
    conv = nn.Conv2D(24, 40, 3, padding=1, bias_attr=bias)
    if conv.bias is not None:
        conv.bias.set_value(random(40))
    x = random(batch, 24, height, width, seed=1)
    assert is_winograd_form(conv)
    with paddle.no_grad():
        np.testing.assert_allclose(WinogradConv2D(conv)(x).numpy(), conv(x).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 1},
        {"kernel_size": 5, "padding": 1},
        {"stride": 2},
        {"stride": [1, 2]},
        {"padding": 0},
        {"padding": [1, 0]},
        {"padding": "SAME"},
        {"dilation": 2},
        {"groups": 8},
        {"padding_mode": "reflect"},
        {"data_format": "NHWC"},
    ],
)
def test_other_convolutions_have_no_winograd_form(settings):
    conv = nn.Conv2D(16, 16, **{"kernel_size": 3, "padding": 1, **settings})
    assert not is_winograd_form(conv)
    assert not is_winograd_form(nn.Conv2DTranspose(16, 16, 3, padding=1))


def test_a_convolution_of_another_class_has_no_winograd_form():
    class Halved(nn.Conv2D):
        def forward(self, x):
            return super().forward(x) / 2

    assert not is_winograd_form(Halved(16, 16, 3, padding=1))


# -------------------------------------------------------------------------- deformable convolutions
@pytest.mark.parametrize("spread", [0.0, 0.4, 4.0, 1e9])
@pytest.mark.parametrize(("stride", "size"), [(1, (1, 9, 7)), (2, (3, 8, 13))])
def test_gathered_rows_give_the_maps_of_deformable_convolution(stride, size, spread):
    batch, height, width = size
    conv = SampledConv2D(6, 10, 3, stride=stride, padding=1)
    conv.bias.set_value(random(10))
    rows, columns = -(-height // stride), -(-width // stride)
    x = random(batch, 6, height, width, seed=1)
    offset = random(batch, 18, rows, columns, seed=2, scale=spread)
    offset[:, :6] = paddle.round(offset[:, :6])  # places on cells, and exactly on the edges
    mask = paddle.nn.functional.sigmoid(random(batch, 9, rows, columns, seed=3))
    with paddle.no_grad():
        found = GatheredDeformConv2D(conv, (rows, columns))(x, offset, mask)
        np.testing.assert_allclose(found.numpy(), conv(x, offset, mask).numpy(), atol=5e-6)


@pytest.mark.parametrize("groups", [2, 3])
def test_gathered_rows_of_channels_with_offsets_of_their_own(groups):
    conv = SampledConv2D(6, 12, 3, padding=1, deformable_groups=groups)
    x, offset = random(2, 6, 5, 7, seed=1), random(2, 18 * groups, 5, 7, seed=2)
    with paddle.no_grad():
        found = GatheredDeformConv2D(conv, (5, 7))(x, offset)
        np.testing.assert_allclose(found.numpy(), conv(x, offset).numpy(), atol=5e-6)


def test_an_offset_that_is_no_number_spoils_its_cell_only():
    conv = SampledConv2D(2, 3, 3, padding=1)
    offset = paddle.zeros([1, 18, 5, 5])
    offset[0, 4, 2, 3] = float("nan")
    with paddle.no_grad():
        gathered = GatheredDeformConv2D(conv, (5, 5))
        found = gathered(random(1, 2, 5, 5), offset, paddle.ones([1, 9, 5, 5])).numpy()
    assert np.argwhere(np.isnan(found)[0, 0]).tolist() == [[2, 3]]


# ----------------------------------------------------------------------------------------- networks
NETWORKS = {
    "ppyolo/ppyolov2_r50vd_dcn_365e_coco": (27, 3),
    "ppyolo/ppyolo_r18vd_coco": (15, 0),
    "yolov3/yolov3_darknet53_270e_coco": (32, 0),
    "yolox/yolox_s_300e_coco": (25, 0),
    "ppyolo/ppyolo_tiny_650e_coco": (0, 0),
    "asff/yolov3_asff_star_coco": (39, 3),
}


@pytest.fixture
def network(repo, request):
    overrides = ["num_classes=3", "width_mult=0.125"]
    cfg = load_config(repo / "configs" / f"{request.param}.yml", overrides)
    paddle.seed(0)
    model = create(cfg.architecture, cfg)
    for layer in model.sublayers():
        if isinstance(layer, nn.BatchNorm2D):  # trained statistics would keep the maps in bounds
            layer._variance.set_value(np.full(layer._num_features, 4.0, np.float32))
        # Offsets, and the predictions of YOLOX, start at zero: what is before them would not count.
        if isinstance(layer, nn.Conv2D) and not layer.weight.any():
            layer.weight.set_value(random(*layer.weight.shape))
    return exported_network(model, ExportOptions())


@pytest.mark.parametrize(
    ("network", "expected"), NETWORKS.items(), ids=list(NETWORKS), indirect=["network"]
)
def test_networks_keep_their_outputs(network, expected):
    image = random(2, 3, 96, 160, scale=0.5)
    with paddle.no_grad():
        before = [level.numpy() for level in network.raw_outputs(image)]
        assert replace_layers(network, (96, 160), Limits(8, 1, 0, 0)) == expected
        after = [level.numpy() for level in network.raw_outputs(image)]
    kinds = [type(layer).__name__ for layer in network.sublayers()]
    assert (kinds.count("WinogradConv2D"), kinds.count("GatheredDeformConv2D")) == expected
    assert "SampledConv2D" not in kinds
    for level, other in zip(before, after):
        spread = np.ptp(level, axis=(0, 2, 3)).max()  # biases do not count
        np.testing.assert_allclose(other, level, rtol=0, atol=2e-5 * spread)


@pytest.mark.parametrize("network", [next(iter(NETWORKS))], indirect=True)
def test_layers_that_run_in_training_only_stay(network):
    network.auxiliary = DeformableConvV2(8, 8)
    assert replace_layers(network, (96, 160), Limits(8, 1, 0, 0)) == (27, 3)
    assert type(network.auxiliary.conv) is SampledConv2D


@pytest.mark.parametrize("network", [next(iter(NETWORKS))], indirect=True)
@pytest.mark.parametrize(
    ("channels", "tiles", "products", "count"),
    [
        (8, 1, 0, 27),
        (16, 1, 0, 24),
        (8, 15, 0, 9),
        (64, 1, 0, 5),
        (128, 25, 0, 0),
        (64, 1, 64 * 64 * 9 * 15 - 1, 5),
        (64, 1, 64 * 64 * 9 * 15, 0),
    ],
)
def test_only_where_it_pays(network, channels, tiles, products, count):
    assert replace_layers(network, (96, 160), Limits(channels, tiles, products)).winograd == count


@pytest.mark.parametrize("network", [next(iter(NETWORKS))], indirect=True)
@pytest.mark.parametrize(("limit", "count"), [(64 * 64 * 9 * 15 - 1, 3), (64 * 64 * 9 * 15, 0)])
def test_deformable_convolutions_of_few_products_stay(network, limit, count):
    limits = Limits(deformable_products=limit)
    assert replace_layers(network, (96, 160), limits) == (0, count)
    kinds = [type(layer).__name__ for layer in network.sublayers()]
    assert kinds.count("SampledConv2D") == 3 - count


@pytest.mark.parametrize("network", [next(iter(NETWORKS))], indirect=True)
def test_only_exports_for_cpus_are_rewritten(network):
    cpu = ExportOptions(target="cpu", input_size=(96, 160), cpu_limits=Limits(64, 1, 0, 0))
    assert target_of(exported_network(network, cpu)) == "cpu"
    assert target_of(network) == target_of(exported_network(network, ExportOptions())) == "any"
