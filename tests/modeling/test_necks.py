"""Necks: shapes, names, where the extras sit, errors."""

import paddle
import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.layers.conv import CoordConv
from ppdet_lite.modeling.layers.regularization.drop_block import DropBlock
from ppdet_lite.modeling.layers.spp import SPP
from ppdet_lite.modeling.necks.fpn import PPYOLOFPN, PPYOLOTinyFPN, YOLOv3FPN
from ppdet_lite.modeling.necks.ppyolo_pan import PPYOLOPAN


def _create(neck, in_channels=(8, 16, 24), **arguments):
    shapes = [ShapeSpec(channels, 8) for channels in in_channels]
    return create(neck.__name__, Config({neck.__name__: arguments}), input_shape=shapes)


def _maps(channels, size=(8, 12)):
    """Backbone maps, finest first."""
    height, width = size
    return [paddle.randn([2, c, height // 2**i, width // 2**i]) for i, c in enumerate(channels)]


def _names(neck, kind):
    return {name for name, layer in neck.named_sublayers() if isinstance(layer, kind)}


def _small_pan(**arguments):
    return PPYOLOPAN([8, 16, 24], width_mult=0.0625, **arguments)


def test_pan_shapes():
    neck = _small_pan(spp=True, drop_block=True)
    neck.eval()
    outputs = neck(_maps([8, 16, 24]))
    assert [o.shape for o in outputs] == [[2, 64, 2, 3], [2, 32, 4, 6], [2, 16, 8, 12]]
    assert [tuple(s) for s in neck.out_shape] == [(64, 32), (32, 16), (16, 8)]


def test_pan_extras_sit_where_they_should():
    neck = _small_pan(spp=True, drop_block=True)
    assert _names(neck, SPP) == {"fpn.0.conv_module.spp"}
    blocks = ["fpn.0", "fpn.1", "fpn.2", "pan.0", "pan.1"]
    assert _names(neck, DropBlock) == {f"{block}.conv_module.dropblock" for block in blocks}
    order = [name for name, _ in neck.fpn[0].conv_module.named_children()]
    assert order == ["0", "1", "spp", "dropblock", "2"]
    assert "fpn.0.conv_module.1.1.conv.weight" not in neck.state_dict()
    assert "fpn.1.conv_module.1.1.conv.weight" in neck.state_dict()
    assert not _names(_small_pan(), (SPP, DropBlock))


def test_drop_block_does_not_change_names():
    assert list(_small_pan(drop_block=True).state_dict()) == list(_small_pan().state_dict())


def test_pan_with_two_levels_and_other_strides():
    neck = PPYOLOPAN([8, 16], width_mult=0.0625, conv_block_num=2, in_strides=[16, 32])
    neck.eval()
    assert [o.shape for o in neck(_maps([8, 16]))] == [[2, 64, 4, 6], [2, 32, 8, 12]]
    assert [tuple(s) for s in neck.out_shape] == [(64, 32), (32, 16)]


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"conv_block_num": 0}, "conv_block_num: found 0, allowed: 1 to 100"),
        ({"conv_block_num": 1, "spp": True}, "conv_block_num: found 1, allowed"),
        ({"act": "mesh"}, "act: found 'mesh'"),
        ({"data_format": "NHWC"}, "data_format: found 'NHWC'"),
    ],
)
def test_pan_errors(arguments, text):
    with pytest.raises(ConfigError, match=text):
        _create(PPYOLOPAN, **{"width_mult": 0.0625, **arguments})


def test_flat_fpn():
    neck = PPYOLOFPN([6, 10], conv_block_num=0, drop_block=True, spp=True, coord_conv=True)
    neck.eval()
    assert [o.shape for o in neck(_maps([6, 10]))] == [[2, 512, 4, 6], [2, 256, 8, 12]]
    assert [tuple(s) for s in neck.out_shape] == [(512, 32), (256, 16)]
    order = [name for name, _ in neck.yolo_block[0].conv_module.named_children()]
    assert order == ["spp", "dropblock", "route"]
    assert [n for n, _ in neck.yolo_block[1].conv_module.named_children()] == ["dropblock", "route"]
    weights = {key: value.shape for key, value in neck.state_dict().items()}
    assert weights["yolo_block.1.conv_module.route.conv.conv.weight"] == [128, 6 + 256 + 2, 1, 1]


def test_deep_fpn_extras_sit_where_they_should():
    neck = PPYOLOFPN([4, 6, 8], coord_conv=True, drop_block=True, spp=True)
    orders = [[n for n, _ in block.conv_module.named_children()] for block in neck.yolo_block]
    assert orders[0] == ["conv0", "conv1", "conv2", "spp", "conv3", "dropblock", "route"]
    assert orders[1] == orders[2] == ["conv0", "conv1", "dropblock", "conv2", "conv3", "route"]
    inside = {"conv_module.conv0", "conv_module.conv2", "conv_module.route", "tip"}
    expected = {f"yolo_block.{i}.{name}" for i in range(3) for name in inside}
    assert _names(neck, CoordConv) == expected


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"conv_block_num": 1}, "conv_block_num: found 1, allowed: 0 or 2"),
        ({"block_size": 4, "drop_block": True}, "block_size: found 4, allowed: an odd number"),
        ({"keep_prob": 0.0}, "keep_prob: found 0.0, allowed: above 0, at most 1"),
        ({"keep_prob": 1.5}, "keep_prob: found 1.5, allowed: above 0, at most 1"),
    ],
)
def test_fpn_errors(arguments, text):
    with pytest.raises(ConfigError, match=text):
        _create(PPYOLOFPN, **arguments)


def test_tiny_fpn():
    arguments = {"detection_block_channels": [10, 6, 4], "spp": True, "drop_block": True}
    neck = PPYOLOTinyFPN([8, 16, 24], **arguments)
    neck.eval()
    assert [o.shape for o in neck(_maps([8, 16, 24]))] == [
        [2, 10, 2, 3],
        [2, 6, 4, 6],
        [2, 4, 8, 12],
    ]
    assert [tuple(s) for s in neck.out_shape] == [(10, 32), (6, 16), (4, 8)]
    assert _names(neck, SPP) == {"spp"}
    for i, block in enumerate(neck.yolo_block):
        names = [name for name, _ in block.conv_module.named_children()]
        assert names == ["dropblock", *(f"yolo_block.{i}.{k}" for k in (0, 1, 2, "route"))]
    weights = {key: value.shape for key, value in neck.state_dict().items()}
    assert weights["yolo_block.1.conv_module.yolo_block.1.0.conv.weight"] == [6, 16 + 10, 1, 1]
    assert weights["yolo_block.1.conv_module.yolo_block.1.route.conv.weight"] == [6, 1, 5, 5]
    assert not _names(PPYOLOTinyFPN([8, 16, 24]), (SPP, DropBlock))


def test_tiny_fpn_narrowed_and_with_other_strides():
    neck = PPYOLOTinyFPN(
        [8, 16], detection_block_channels=[64, 32], width_mult=0.25, in_strides=[16, 32]
    )
    assert [tuple(s) for s in neck.out_shape] == [(16, 32), (8, 16)]


def test_yolov3_fpn():
    neck = YOLOv3FPN([8, 16, 24], width_mult=0.0625)
    neck.eval()
    outputs = neck(_maps([8, 16, 24]))
    assert [o.shape for o in outputs] == [[2, 64, 2, 3], [2, 32, 4, 6], [2, 16, 8, 12]]
    assert [tuple(s) for s in neck.out_shape] == [(64, 32), (32, 16), (16, 8)]
    names = [name for name, _ in neck.yolo_block[1].conv_module.named_children()]
    assert names == ["conv0", "conv1", "conv2", "conv3", "route"]
    weights = {key: value.shape for key, value in neck.state_dict().items()}
    assert weights["yolo_block.1.conv_module.conv0.conv.weight"] == [16, 16 + 16, 1, 1]
    assert not _names(neck, (SPP, DropBlock, CoordConv))


def test_the_route_of_a_coarser_level_stands_before_the_lateral_map():
    neck = YOLOv3FPN([8, 16], width_mult=0.0625)
    neck.eval()
    seen = []
    neck.yolo_block[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    maps = _maps([8, 16], size=(4, 6))
    neck(maps)
    assert paddle.equal_all(seen[0][:, 16:], maps[0]).item()


@pytest.mark.parametrize(
    "neck, arguments, text",
    [
        (PPYOLOTinyFPN, {"in_channels": [8, 16]}, "detection_block_channels: found"),
        (PPYOLOTinyFPN, {"data_format": "NHWC"}, "data_format: found 'NHWC'"),
        (YOLOv3FPN, {"width_mult": -1.0}, "width_mult: found -1.0"),
    ],
)
def test_errors_of_the_other_necks(neck, arguments, text):
    with pytest.raises(ConfigError, match=text):
        _create(neck, **arguments)


@pytest.mark.parametrize("neck", [PPYOLOPAN, PPYOLOFPN, YOLOv3FPN])
def test_a_neck_without_maps(neck):
    with pytest.raises(ConfigError, match=r"in_channels: found \[\]"):
        neck([])
