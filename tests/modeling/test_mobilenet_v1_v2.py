"""MobileNetV1 and V2: sizes, names, shapes, weight decay, errors."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.modeling.backbones.mobilenet_v1 import MobileNet
from ppdet_lite.modeling.backbones.mobilenet_v2 import MobileNetV2


def count(layer):
    return sum(int(np.prod(p.shape)) for p in layer.parameters() if not p.stop_gradient)


def test_sizes(repo):
    """V2 as torchvision counts it, less its classifier; YOLOv3 on V1 as PaddleDetection has it."""
    assert count(MobileNetV2()) == 3_504_872 - 1280 * 1000 - 1000
    cfg = load_config(repo / "configs" / "yolov3" / "yolov3_mobilenet_v1_270e_coco.yml")
    assert count(create("YOLOv3", cfg)) == 24_571_197


@pytest.mark.parametrize(
    ("net", "shapes"),
    [
        (MobileNet(), [(256, 8), (512, 16), (1024, 32)]),
        (MobileNet(scale=0.5, feature_maps=[1, 12]), [(32, 2), (512, 32)]),
        (MobileNetV2(), [(32, 8), (96, 16), (1280, 32)]),
        (MobileNetV2(scale=0.5, feature_maps=[0, 17, 18]), [(16, 2), (160, 32), (1280, 32)]),
    ],
)
def test_shapes(net, shapes):
    net.eval()
    assert [tuple(shape) for shape in net.out_shape] == shapes
    with paddle.no_grad():
        maps = net(paddle.zeros([1, 3, 64, 96]))
    expected = [[1, channels, 64 // stride, 96 // stride] for channels, stride in shapes]
    assert [feature.shape for feature in maps] == expected


def test_names_of_version_1_are_those_of_paddledetection():
    parts = [f"conv5_{i}" for i in range(1, 7)]
    parts = ["conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv4_1", "conv4_2", *parts, "conv6"]
    layers = ["conv1", *(f"{p}._{kind}_conv" for p in parts for kind in ("depthwise", "pointwise"))]
    leaves = [f"_batch_norm.{leaf}" for leaf in ("weight", "bias", "_mean", "_variance")]
    expected = {f"{layer}.{leaf}" for layer in layers for leaf in ("_conv.weight", *leaves)}
    state = MobileNet().state_dict()
    assert set(state) == expected
    assert state["conv5_6._depthwise_conv._conv.weight"].shape == [512, 1, 3, 3]
    assert state["conv5_6._pointwise_conv._conv.weight"].shape == [1024, 512, 1, 1]


def test_version_1_decays_nothing_by_default():
    for net, decays in ((MobileNet(), {0.0}), (MobileNet(conv_decay=0.5), {0.0, 0.5})):
        trained = [p for p in net.parameters() if not p.stop_gradient]
        assert {p.regularizer._coeff for p in trained} == decays


def test_blocks_behind_the_last_map_are_not_built():
    assert "conv4_1" not in {k.split(".")[0] for k in MobileNet(feature_maps=[4]).state_dict()}


@pytest.mark.parametrize(
    ("make", "maps"), [(MobileNet, [14]), (MobileNet, [6, 4]), (MobileNetV2, [19])]
)
def test_maps_that_are_not_there(make, maps):
    with pytest.raises(ConfigError, match="feature_maps: found"):
        make(feature_maps=maps)
