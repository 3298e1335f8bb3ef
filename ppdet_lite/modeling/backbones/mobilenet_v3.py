"""MobileNetV3 (arXiv:1905.02244), without the classifier.

Parameters have the names of PaddleDetection's weight files: `conv1.conv.weight` for the stem, then
`conv2` ... for the inverted residuals (`expand_conv`, `bottleneck_conv`, `mid_se`, `linear_conv`).
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import paddle.nn.functional as F
from paddle import ParamAttr, Tensor, nn
from paddle.regularizer import L2Decay

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Multiple, NormType, check_arguments, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain
from ppdet_lite.modeling.layers.conv import ConvNorm


class BlockPlan(NamedTuple):
    """An inverted residual; `squeeze` adds squeeze-and-excitation after the depthwise filter."""

    filter_size: int
    inner: int
    out: int
    squeeze: bool
    act: str
    stride: int


PLANS = {
    "large": (
        BlockPlan(3, 16, 16, False, "relu", 1),
        BlockPlan(3, 64, 24, False, "relu", 2),
        BlockPlan(3, 72, 24, False, "relu", 1),
        BlockPlan(5, 72, 40, True, "relu", 2),
        *2 * [BlockPlan(5, 120, 40, True, "relu", 1)],
        BlockPlan(3, 240, 80, False, "hardswish", 2),
        BlockPlan(3, 200, 80, False, "hardswish", 1),
        *2 * [BlockPlan(3, 184, 80, False, "hardswish", 1)],
        BlockPlan(3, 480, 112, True, "hardswish", 1),
        BlockPlan(3, 672, 112, True, "hardswish", 1),
        BlockPlan(5, 672, 160, True, "hardswish", 2),
        *2 * [BlockPlan(5, 960, 160, True, "hardswish", 1)],
    ),
    "small": (
        BlockPlan(3, 16, 16, True, "relu", 2),
        BlockPlan(3, 72, 24, False, "relu", 2),
        BlockPlan(3, 88, 24, False, "relu", 1),
        BlockPlan(5, 96, 40, True, "hardswish", 2),
        *2 * [BlockPlan(5, 240, 40, True, "hardswish", 1)],
        BlockPlan(5, 120, 48, True, "hardswish", 1),
        BlockPlan(5, 144, 48, True, "hardswish", 1),
        BlockPlan(5, 288, 96, True, "hardswish", 2),
        *2 * [BlockPlan(5, 576, 96, True, "hardswish", 1)],
    ),
}
"""Inverted residuals of tables 1 and 2 of the paper."""

STEM_WIDTH = 16
BLOCKS_PER_RATE = 3
"""Inverted residuals per entry of `lr_mult_list`."""


def round_channels(channels: float, divisor: int = 8) -> int:
    """Returns the nearest multiple of `divisor` that is at least 90 % of `channels`."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ConvBN(ConvNorm):
    """`ConvNorm` whose norm is called `bn`."""

    norm_name = "bn"


class SqueezeExcitation(nn.Layer):
    """Squeeze-and-excitation with a hard sigmoid (arXiv:1709.01507)."""

    def __init__(self, channels: int, attr: ParamAttr):
        super().__init__()
        hidden = channels // 4
        self.conv1 = nn.Conv2D(channels, hidden, 1, weight_attr=attr, bias_attr=attr)
        self.conv2 = nn.Conv2D(hidden, channels, 1, weight_attr=attr, bias_attr=attr)

    def forward(self, x: Tensor) -> Tensor:
        weight = F.adaptive_avg_pool2d(x, 1)
        weight = self.conv2(F.relu(self.conv1(weight)))
        # The released weights were trained with slope 0.2; Paddle's default is 1/6.
        return x * F.hardsigmoid(weight, slope=0.2, offset=0.5)


class InvertedResidual(nn.Layer):
    """1x1 expansion, depthwise filter, linear 1x1, with a shortcut where shapes allow it.

    `options` are arguments of `ConvBN`, of which `weight_attr` serves all convolutions.
    """

    def __init__(self, ch_in: int, inner: int, ch_out: int, plan: BlockPlan, **options: Any):
        super().__init__()
        self._shortcut = plan.stride == 1 and ch_in == ch_out
        self.expand_conv = ConvBN(ch_in, inner, 1, act=plan.act, **options)
        size = inner, inner, plan.filter_size, plan.stride
        self.bottleneck_conv = ConvBN(*size, groups=inner, act=plan.act, **options)
        attr = options["weight_attr"]
        self.mid_se = SqueezeExcitation(inner, attr) if plan.squeeze else None
        self.linear_conv = ConvBN(inner, ch_out, 1, **options)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bottleneck_conv(self.expand_conv(x))
        if self.mid_se is not None:
            inner = self.mid_se(inner)
        out = self.linear_conv(inner)
        return x + out if self._shortcut else out


@register
class MobileNetV3(Backbone):
    """A stem and inverted residuals.

    Args:
        scale, width_mult: factors on all channels, which are rounded to multiples of 8.
        feature_maps: returned maps: 1 is the stem, k > 1 the (k - 1)-th inverted residual.
        with_extra_blocks: extra blocks of SSD, not implemented.
        lr_mult_list: factors on the learning rate, each of three inverted residuals; the stem uses
            the first, all remaining blocks the last.
        conv_decay: L2 coefficient of the convolutions, instead of the optimizer's.
        norm_type, norm_decay, freeze_norm: see `batch_norm`.
    """

    __shared__ = ("norm_type", "width_mult")
    __unused__ = ("extra_block_filters", "multiplier")

    def __init__(
        self,
        scale: Multiple = 1.0,
        model_name: Literal["large", "small"] = "large",
        feature_maps: Sequence[int] = (6, 12, 15),
        with_extra_blocks: Literal[False] = False,
        lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
        conv_decay: float = 0.0,
        norm_type: NormType = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = False,
        width_mult: Multiple = 1.0,
    ):
        super().__init__()
        check_arguments(
            rising("feature_maps", feature_maps, 1, len(PLANS[model_name]) + 1),
            ("lr_mult_list", list(lr_mult_list), len(lr_mult_list) > 0, "at least one factor"),
        )

        def options(group: int) -> dict[str, Any]:
            rate = float(lr_mult_list[min(group, len(lr_mult_list) - 1)])
            attr = ParamAttr(learning_rate=rate, regularizer=L2Decay(conv_decay))
            norm = {"norm_decay": norm_decay, "freeze_norm": freeze_norm}
            return {"weight_attr": attr, "learning_rate": rate, **norm}

        def width(channels: int) -> int:
            return round_channels(channels * scale * width_mult)

        channels, stride = width(STEM_WIDTH), 2
        self.conv1 = ConvBN(3, channels, 3, 2, act="hardswish", **options(0))
        self._layers = [self.conv1]
        shapes = [ShapeSpec(channels, stride)]
        # Blocks after the last returned map are not built.
        for i, plan in enumerate(PLANS[model_name][: max(feature_maps) - 1]):
            size = channels, width(plan.inner), width(plan.out)
            block = InvertedResidual(*size, plan, **options(i // BLOCKS_PER_RATE))
            self._layers.append(self.add_sublayer(f"conv{i + 2}", block))
            channels, stride = width(plan.out), stride * plan.stride
            shapes.append(ShapeSpec(channels, stride))
        self._returned = [k - 1 for k in feature_maps]
        self.out_shape = [shapes[i] for i in self._returned]

    def forward(self, image: Tensor) -> list[Tensor]:
        return chain(image, self._layers, self._returned)
