"""MobileNetV3 (arXiv:1905.02244), without the classifier.

Parameters are named as in PaddleDetection's weight files: `conv1.conv.weight` for the stem, then
`conv2` ... for the inverted residuals (`expand_conv`, `bottleneck_conv`, `mid_se`, `linear_conv`).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Optional

import paddle.nn.functional as F
from paddle import ParamAttr, nn
from paddle.regularizer import L2Decay

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register, serializable
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec
from ppdet_lite.modeling.layers.activation import activation
from ppdet_lite.modeling.layers.norm import batch_norm


class BlockPlan(NamedTuple):
    """An inverted residual: side of its depthwise filter, channels inside and after it, whether
    squeeze-and-excitation follows the depthwise convolution, activation, stride.
    """

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
        BlockPlan(5, 120, 40, True, "relu", 1),
        BlockPlan(5, 120, 40, True, "relu", 1),
        BlockPlan(3, 240, 80, False, "hardswish", 2),
        BlockPlan(3, 200, 80, False, "hardswish", 1),
        BlockPlan(3, 184, 80, False, "hardswish", 1),
        BlockPlan(3, 184, 80, False, "hardswish", 1),
        BlockPlan(3, 480, 112, True, "hardswish", 1),
        BlockPlan(3, 672, 112, True, "hardswish", 1),
        BlockPlan(5, 672, 160, True, "hardswish", 2),
        BlockPlan(5, 960, 160, True, "hardswish", 1),
        BlockPlan(5, 960, 160, True, "hardswish", 1),
    ),
    "small": (
        BlockPlan(3, 16, 16, True, "relu", 2),
        BlockPlan(3, 72, 24, False, "relu", 2),
        BlockPlan(3, 88, 24, False, "relu", 1),
        BlockPlan(5, 96, 40, True, "hardswish", 2),
        BlockPlan(5, 240, 40, True, "hardswish", 1),
        BlockPlan(5, 240, 40, True, "hardswish", 1),
        BlockPlan(5, 120, 48, True, "hardswish", 1),
        BlockPlan(5, 144, 48, True, "hardswish", 1),
        BlockPlan(5, 288, 96, True, "hardswish", 2),
        BlockPlan(5, 576, 96, True, "hardswish", 1),
        BlockPlan(5, 576, 96, True, "hardswish", 1),
    ),
}
"""Tables 1 and 2 of the paper, up to the last inverted residual."""

STEM_WIDTH = 16
BLOCKS_PER_RATE = 3
"""Inverted residuals that share one entry of `lr_mult_list`."""


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that loses at most a tenth of `channels`."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class _Training(NamedTuple):
    """How the parameters of a block train: `rate` is a factor on the learning rate."""

    norm_type: str
    norm_decay: float
    freeze_norm: bool
    conv_decay: float
    rate: float

    def conv_attr(self) -> ParamAttr:
        return ParamAttr(learning_rate=self.rate, regularizer=L2Decay(self.conv_decay))

    def norm(self, channels: int) -> nn.BatchNorm2D:
        return batch_norm(
            channels, self.norm_type, self.norm_decay, self.freeze_norm, learning_rate=self.rate
        )


class ConvNorm(nn.Layer):
    """Convolution without bias, batch norm, optional activation; parameters `conv` and `bn`."""

    def __init__(
        self,
        ch_in: int,
        ch_out: int,
        filter_size: int,
        training: _Training,
        stride: int = 1,
        groups: int = 1,
        act: Optional[str] = None,
    ):
        super().__init__()
        self.conv = nn.Conv2D(
            ch_in,
            ch_out,
            filter_size,
            stride=stride,
            padding=filter_size // 2,
            groups=groups,
            weight_attr=training.conv_attr(),
            bias_attr=False,
        )
        self.bn = training.norm(ch_out)
        self._activation = activation(act)

    def forward(self, x):
        x = self.bn(self.conv(x))
        return x if self._activation is None else self._activation(x)


class SqueezeExcitation(nn.Layer):
    """Weighs each channel by a hard sigmoid of what the whole map holds (arXiv:1709.01507)."""

    def __init__(self, channels: int, training: _Training, reduction: int = 4):
        super().__init__()
        hidden = channels // reduction
        attr = training.conv_attr
        self.conv1 = nn.Conv2D(channels, hidden, 1, weight_attr=attr(), bias_attr=attr())
        self.conv2 = nn.Conv2D(hidden, channels, 1, weight_attr=attr(), bias_attr=attr())

    def forward(self, x):
        weight = F.adaptive_avg_pool2d(x, 1)
        weight = self.conv2(F.relu(self.conv1(weight)))
        # Slope 0.2 is that of the released weights; Paddle's own default is 1/6.
        return x * F.hardsigmoid(weight, slope=0.2, offset=0.5)


class InvertedResidual(nn.Layer):
    """Widens by a 1x1, filters each channel, narrows by a linear 1x1; a shortcut where it fits."""

    def __init__(self, ch_in: int, inner: int, ch_out: int, plan: BlockPlan, training: _Training):
        super().__init__()
        self._shortcut = plan.stride == 1 and ch_in == ch_out
        self.expand_conv = ConvNorm(ch_in, inner, 1, training, act=plan.act)
        self.bottleneck_conv = ConvNorm(
            inner, inner, plan.filter_size, training, plan.stride, groups=inner, act=plan.act
        )
        self.mid_se = SqueezeExcitation(inner, training) if plan.squeeze else None
        self.linear_conv = ConvNorm(inner, ch_out, 1, training)

    def forward(self, x):
        inner = self.bottleneck_conv(self.expand_conv(x))
        if self.mid_se is not None:
            inner = self.mid_se(inner)
        out = self.linear_conv(inner)
        return x + out if self._shortcut else out


@register
@serializable
class MobileNetV3(Backbone):
    """Images [B, 3, H, W] to a list of feature maps, finest first.

    Args:
        scale: factor on all channels, which are then rounded to multiples of 8.
        model_name: large or small.
        feature_maps: outputs to return, rising: 1 is the stem, k > 1 the (k - 1)-th inverted
            residual.
        with_extra_blocks: only false; the blocks that SSD puts behind the network are not built
            here.
        extra_block_filters, multiplier: of those blocks, without effect.
        lr_mult_list: factors on the learning rate of three inverted residuals each, the last for
            all that remain; the stem takes the first.
        conv_decay: L2 coefficient of the convolutions, in place of the optimizer's.
        norm_type: bn or sync_bn.
        norm_decay: L2 coefficient of batch norm parameters.
        freeze_norm: batch norms keep their stored statistics and do not train.
        width_mult: another factor on all channels.

    Raises:
        ConfigError: an argument that cannot be built.
    """

    __shared__ = ("norm_type", "width_mult")
    __unused__ = ("extra_block_filters", "multiplier")

    def __init__(
        self,
        scale: float = 1.0,
        model_name: Literal["large", "small"] = "large",
        feature_maps: Sequence[int] = (6, 12, 15),
        with_extra_blocks: bool = False,
        lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
        conv_decay: float = 0.0,
        norm_type: str = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = False,
        width_mult: float = 1.0,
    ):
        super().__init__()
        _check_arguments(scale * width_mult, model_name, feature_maps, with_extra_blocks)
        if not lr_mult_list:
            raise ConfigError("lr_mult_list: found [], needed: at least one factor")
        self._feature_maps = list(feature_maps)
        # Blocks behind the last returned map would neither be used nor trained.
        plans = PLANS[model_name][: max(self._feature_maps) - 1]

        def training(group):
            rate = float(lr_mult_list[min(group, len(lr_mult_list) - 1)])
            return _Training(norm_type, norm_decay, freeze_norm, conv_decay, rate)

        def width(channels):
            return round_channels(channels * scale * width_mult)

        channels, stride = width(STEM_WIDTH), 2
        self.conv1 = ConvNorm(3, channels, 3, training(0), stride=2, act="hardswish")
        self._layers = [self.conv1]
        self._shapes = [ShapeSpec(channels, stride)]
        for i, plan in enumerate(plans):
            block = InvertedResidual(
                channels, width(plan.inner), width(plan.out), plan, training(i // BLOCKS_PER_RATE)
            )
            self._layers.append(self.add_sublayer(f"conv{i + 2}", block))
            channels, stride = width(plan.out), stride * plan.stride
            self._shapes.append(ShapeSpec(channels, stride))

    @property
    def out_shape(self) -> list:
        """`ShapeSpec` of every returned map."""
        return [self._shapes[k - 1] for k in self._feature_maps]

    def forward(self, image):
        """[B, 3, H, W] to the maps of `feature_maps`."""
        x, maps = image, []
        for i, layer in enumerate(self._layers):
            x = layer(x)
            if i + 1 in self._feature_maps:
                maps.append(x)
        return maps


def _check_arguments(scale, model_name, feature_maps, with_extra_blocks) -> None:
    problems = []
    if scale <= 0:
        problems.append(f"scale: found {scale}, allowed: a number above 0")
    if model_name not in PLANS:
        problems.append(f"model_name: found '{model_name}', allowed: {', '.join(PLANS)}")
    else:
        last = len(PLANS[model_name]) + 1
        found = list(feature_maps)
        if not found or any(not 1 <= k <= last for k in found) or found != sorted(set(found)):
            problems.append(
                f"feature_maps: found {found}, allowed: numbers 1 to {last}, rising, without "
                "repeats"
            )
    if with_extra_blocks:
        problems.append("with_extra_blocks: found true, allowed: false (the blocks of SSD)")
    if problems:
        raise ConfigError(problems)
