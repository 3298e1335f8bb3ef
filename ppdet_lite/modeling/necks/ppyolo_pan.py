"""The path aggregation neck of PP-YOLOv2 (arXiv:2104.10419, after arXiv:1803.01534)."""

from collections.abc import Sequence
from typing import Any, Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import check_arguments, nchw
from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.layers.channels import scale_channels
from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.layers.drop_block import DropBlock
from ppdet_lite.modeling.layers.spp import SPP
from ppdet_lite.modeling.layers.upsample import upsample_x2
from ppdet_lite.modeling.necks.pyramid import PyramidNeck


class PPYOLODetBlockCSP(nn.Layer):
    """Cross-stage partial block: two 1x1 branches, one of them deep, joined by a 1x1.

    Args:
        ch_in: channels of the input.
        width: c; each branch has c channels, the output 2c.
        deep: named layers of the deep branch, c to c.
        block: arguments of the three 1x1 `ConvBNLayer`.
    """

    def __init__(self, ch_in: int, width: int, deep: Sequence, block: dict[str, Any]):
        super().__init__()
        self.conv1 = ConvBNLayer(ch_in, width, 1, **block)
        self.conv2 = ConvBNLayer(ch_in, width, 1, **block)
        self.conv3 = ConvBNLayer(width * 2, width * 2, 1, **block)
        self.conv_module = nn.Sequential(*deep)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.conv_module(self.conv1(x))
        return self.conv3(paddle.concat([deep, self.conv2(x)], axis=1))


@register
class PPYOLOPAN(PyramidNeck):
    """Feature pyramid top down, then bottom up, coarsest first; a CSP block per level and way.

    Args:
        act: activation of every block.
        conv_block_num: pairs of 1x1 and 3x3 convolution in the deep branch of a block. The paper
            does not give it; the released weights have 3.
        drop_block: a `DropBlock` of `block_size` and `keep_prob` behind the second pair of every
            block.
        spp: put pooled context in place of the second pair's 3x3 on the coarsest level.
        width_mult: factor on the neck's channels.
    """

    __shared__ = ("norm_type", "width_mult", "data_format")

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024, 2048),
        norm_type: str = "bn",
        act: str = "mish",
        conv_block_num: int = 3,
        drop_block: bool = False,
        block_size: int = 3,
        keep_prob: float = 0.9,
        spp: bool = False,
        width_mult: float = 1.0,
        data_format: str = "NCHW",
        in_strides: Optional[Sequence[int]] = None,
    ):
        super().__init__(in_channels, in_strides)
        levels, deep_enough = len(self.shapes), conv_block_num >= (2 if spp else 1)
        check_arguments(
            ("conv_block_num", conv_block_num, deep_enough, "at least 1, with spp at least 2"),
            ("in_channels", list(in_channels), levels <= 6, "1 to 6 levels"),
            nchw(data_format),
        )
        self._block: dict[str, Any] = {"norm_type": norm_type, "act": act}
        self._drop = (block_size, keep_prob) if drop_block else None
        widths = [scale_channels(512 // 2**i, width_mult) for i in range(levels)]

        def csp(ch_in: int, width: int, with_spp: bool = False) -> PPYOLODetBlockCSP:
            deep = self._deep_branch(width, conv_block_num, with_spp)
            return PPYOLODetBlockCSP(ch_in, width, deep, self._block)

        def transition(ch_in: int, ch_out: int, filter_size: int = 1, stride: int = 1):
            return ConvBNLayer(ch_in, ch_out, filter_size, stride, **self._block)

        self.fpn, self.fpn_transition = nn.LayerList(), nn.LayerList()
        for i, (width, shape) in enumerate(zip(widths, self.shapes[::-1])):
            ch_in = shape.channels
            if i > 0:
                self.fpn_transition.append(transition(2 * widths[i - 1], 2 * width))
                ch_in += 2 * width
            self.fpn.append(csp(ch_in, width, with_spp=spp and i == 0))
            self.out_shape.append(ShapeSpec(2 * width, shape.stride))
        # Built from fine to coarse, numbered from coarse to fine: the released weights' names.
        self.pan_transition, self.pan = nn.LayerDict(), nn.LayerDict()
        for i in reversed(range(levels - 1)):
            finer, width = 2 * widths[i + 1], widths[i]
            self.pan_transition[str(i)] = transition(finer, finer, filter_size=3, stride=2)
            self.pan[str(i)] = csp(finer + 2 * width, width)

    def _deep_branch(self, width: int, pairs: int, with_spp: bool) -> list[tuple[str, nn.Layer]]:
        """Named layers of a block's deep branch."""
        branch: list[tuple[str, nn.Layer]] = []
        for i in range(pairs):
            squeeze = ConvBNLayer(width, width, 1, **self._block)
            if with_spp and i == 1:
                branch.append((str(i), nn.Sequential(squeeze)))
                branch.append(("spp", SPP(width, width, **self._block)))
            else:
                spread = ConvBNLayer(width, width, 3, **self._block)
                branch.append((str(i), nn.Sequential(squeeze, spread)))
            if i == min(1, pairs - 1) and self._drop is not None:
                branch.append(("dropblock", DropBlock(*self._drop)))
        return branch

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
