"""The path aggregation neck of PP-YOLOv2 (arXiv:2104.10419, after arXiv:1803.01534)."""

from collections.abc import Sequence
from functools import partial
from typing import Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import (
    Act,
    Channels,
    Kept,
    Layout,
    Multiple,
    NormType,
    Odd,
    Repeats,
    check_arguments,
)
from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.layers.conv import ConvBNLayer, scale_channels
from ppdet_lite.modeling.layers.regularization.drop_block import DropBlock
from ppdet_lite.modeling.layers.spp import SPP
from ppdet_lite.modeling.necks.pyramid import PyramidNeck, upsample_x2


class PPYOLODetBlockCSP(nn.Layer):
    """Cross-stage partial block: two branches of `width` channels to 2 x `width`.

    Args:
        pairs: pairs of 1x1 and 3x3 in the deep branch; `SPP` replaces the second 3x3 if `spp`.
        drop: arguments of the `DropBlock` after the second pair; None for none.
        act: of the convolutions.
    """

    def __init__(
        self,
        ch_in: int,
        width: int,
        pairs: int,
        drop: Optional[tuple],
        act: Optional[str],
        spp: bool = False,
    ):
        super().__init__()
        conv = partial(ConvBNLayer, act=act)
        deep: list[tuple[str, nn.Layer]] = []
        for i in range(pairs):
            squeeze = conv(width, width, 1)
            if spp and i == 1:
                deep.append((str(i), nn.Sequential(squeeze)))
                deep.append(("spp", SPP(width, width, act=act)))
            else:
                deep.append((str(i), nn.Sequential(squeeze, conv(width, width, 3))))
            if drop and i == min(1, pairs - 1):
                deep.append(("dropblock", DropBlock(*drop)))
        self.conv1, self.conv2 = conv(ch_in, width, 1), conv(ch_in, width, 1)
        self.conv3 = conv(width * 2, width * 2, 1)
        self.conv_module = nn.Sequential(*deep)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.conv_module(self.conv1(x))
        return self.conv3(paddle.concat([deep, self.conv2(x)], axis=1))


@register
class PPYOLOPAN(PyramidNeck):
    """Feature pyramid, top-down and bottom-up, coarsest level first, with a CSP block per level.

    Args:
        conv_block_num: pairs of 1x1 and 3x3 in the deep branch of a block. The paper does not give
            it; the released weights have 3.
        drop_block: add a `DropBlock` of `block_size` and `keep_prob` to every block.
        spp: add `SPP` to the top-down block of the coarsest level.
        width_mult: factor on the channels of the neck.
    """

    __shared__ = ("norm_type", "width_mult", "data_format")

    def __init__(
        self,
        in_channels: Sequence[Channels] = (512, 1024, 2048),
        norm_type: NormType = "bn",
        act: Act = "mish",
        conv_block_num: Repeats = 3,
        drop_block: bool = False,
        block_size: Odd = 3,
        keep_prob: Kept = 0.9,
        spp: bool = False,
        width_mult: Multiple = 1.0,
        data_format: Layout = "NCHW",
        in_strides: Optional[Sequence[Count]] = None,
    ):
        super().__init__(in_channels, in_strides)
        levels, deep_enough = len(self.shapes), conv_block_num > spp
        check_arguments(
            ("conv_block_num", conv_block_num, deep_enough, "2 or more with spp"),
            ("in_channels", list(in_channels), levels <= 6, "1 to 6 levels"),
        )
        drop = (block_size, keep_prob) if drop_block else None
        csp = partial(PPYOLODetBlockCSP, pairs=conv_block_num, drop=drop, act=act)
        widths = [scale_channels(512 // 2**i, width_mult) for i in range(levels)]
        self.fpn, self.fpn_transition = nn.LayerList(), nn.LayerList()
        for i, (width, shape) in enumerate(zip(widths, self.shapes[::-1])):
            ch_in = shape.channels
            if i > 0:
                transition = ConvBNLayer(2 * widths[i - 1], 2 * width, 1, act=act)
                self.fpn_transition.append(transition)
                ch_in += 2 * width
            self.fpn.append(csp(ch_in, width, spp=spp and i == 0))
            self.out_shape.append(ShapeSpec(2 * width, shape.stride))
        # Built from fine to coarse but numbered from coarse to fine, as in the released weights.
        self.pan_transition, self.pan = nn.LayerDict(), nn.LayerDict()
        for i in reversed(range(levels - 1)):
            finer, width = 2 * widths[i + 1], widths[i]
            self.pan_transition[str(i)] = ConvBNLayer(finer, finer, 3, 2, act=act)
            self.pan[str(i)] = csp(finer + 2 * width, width)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        top_down: list[Tensor] = []
        for i, feature in enumerate(reversed(features)):
            if i > 0:
                route = upsample_x2(self.fpn_transition[i - 1](top_down[-1]))
                feature = paddle.concat([route, feature], axis=1)
            top_down.append(self.fpn[i](feature))
        outputs = [top_down[-1]]
        for i in reversed(range(len(top_down) - 1)):
            route = self.pan_transition[str(i)](outputs[0])
            outputs.insert(0, self.pan[str(i)](paddle.concat([route, top_down[i]], axis=1)))
        return outputs
