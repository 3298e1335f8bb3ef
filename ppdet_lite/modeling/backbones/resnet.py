"""ResNet and its variants a to d (arXiv:1512.03385, arXiv:1812.01187), with DCNv2 stages.

Variant a has the stride of a bottleneck in its first 1x1 convolution, b in the 3x3; c is b with
three 3x3 convolutions instead of the 7x7 stem; d is c with average pooling before the 1x1
convolution of strided shortcuts. Parameters have the names of PaddleDetection's weight files:
`res4.res4a.branch2b.conv.weight`, `conv1.conv1_1.norm._mean`.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Optional

import paddle.nn.functional as F
from paddle import ParamAttr, Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import (
    Channels,
    Layout,
    Multiple,
    NormType,
    check_arguments,
    rising,
)
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain, freeze
from ppdet_lite.modeling.layers.conv import ConvNorm, scale_channels
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Depth -> residual blocks of stages res2 to res5."""


class Style(NamedTuple):
    """Builder of a stage: variant, learning rate factor, arguments of `batch_norm`, and True if its
    3x3 convolutions are deformable.
    """

    variant: str
    rate: float
    norm: dict[str, Any]
    deformable: bool = False

    def conv(self, *size: int, act: Optional[str] = "relu", deformable: bool = False) -> nn.Layer:
        """Returns a convolution with norm and activation; `size` as in `ConvNorm`."""
        if deformable:
            return DeformableConvV2(*size, act=act, learning_rate=self.rate, norm=self.norm)
        weight = ParamAttr(learning_rate=self.rate)
        return ConvNorm(*size, act=act, weight_attr=weight, learning_rate=self.rate, **self.norm)

    def shortcut(self, ch_in: int, ch_out: int, stride: int) -> nn.Layer:
        """Returns the shortcut of the first block of a stage."""
        if self.variant != "d" or stride == 1:
            return self.conv(ch_in, ch_out, 1, stride, act=None)
        pool = nn.AvgPool2D(2, stride=2, ceil_mode=True)
        return nn.Sequential(("pool", pool), ("conv", self.conv(ch_in, ch_out, 1, act=None)))

    def basic(self, ch_in: int, width: int, stride: int, project: bool) -> "ResidualBlock":
        """Returns a block of ResNet 18 and 34."""
        return ResidualBlock(
            short=self.shortcut(ch_in, width, stride) if project else None,
            branch2a=self.conv(ch_in, width, 3, stride),
            branch2b=self.conv(width, width, 3, act=None, deformable=self.deformable),
        )

    def bottleneck(self, ch_in: int, width: int, stride: int, project: bool) -> "ResidualBlock":
        """Returns a block of ResNet 50 and deeper, with 4 x `width` channels."""
        stride_1x1, stride_3x3 = (stride, 1) if self.variant == "a" else (1, stride)
        return ResidualBlock(
            branch2a=self.conv(ch_in, width, 1, stride_1x1),
            branch2b=self.conv(width, width, 3, stride_3x3, deformable=self.deformable),
            branch2c=self.conv(width, width * 4, 1, act=None),
            short=self.shortcut(ch_in, width * 4, stride) if project else None,
        )


class ResidualBlock(nn.Layer):
    """Convolutions in a row, and a shortcut past them unless `short` is None."""

    def __init__(self, **layers: Optional[nn.Layer]):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self._branch = [v for k, v in sorted(layers.items()) if v is not None and k != "short"]

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.short is None else self.short(x)
        for layer in self._branch:
            x = layer(x)
        return F.relu(x + shortcut)


def _block_name(stage: int, index: int, count: int) -> str:
    """Returns res4a, res4b, ...; in a long fourth stage res4a, res4b1, res4b2, ..."""
    if stage == 4 and count > 10:
        return "res4a" if index == 0 else f"res4b{index}"
    return f"res{stage}{chr(ord('a') + index)}"


@register
class ResNet(Backbone):
    """A stem and the residual stages res2 to res5, which have the numbers 0 to 3.

    Args:
        ch_in: channels of the stem.
        variant: see the module.
        lr_mult_list: factors on the learning rate, per stage.
        groups, base_width, std_senet: settings of ResNeXt and SENet, not implemented.
        norm_type, norm_decay, freeze_norm: see `batch_norm`.
        freeze_at: last frozen stage, the stem and earlier ones included; -1 freezes nothing.
        freeze_stem_only: `freeze_at` >= 0 freezes the stem only.
        return_idx: returned stages, 0 (stride 4) to 3 (stride 32).
        dcn_v2_stages: stages with deformable 3x3 convolutions; [-1] or [] for none.
        width_mult: factor on all channels.
    """

    __shared__ = ("norm_type", "width_mult", "data_format")

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101, 152] = 50,
        ch_in: Channels = 64,
        variant: Literal["a", "b", "c", "d"] = "b",
        lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        groups: Literal[1] = 1,
        base_width: Literal[64] = 64,
        norm_type: NormType = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = True,
        freeze_at: int = 0,
        return_idx: Sequence[int] = (0, 1, 2, 3),
        dcn_v2_stages: Sequence[int] = (-1,),
        num_stages: Literal[1, 2, 3, 4] = 4,
        std_senet: Literal[False] = False,
        freeze_stem_only: bool = False,
        width_mult: Multiple = 1.0,
        data_format: Layout = "NCHW",
    ):
        super().__init__()
        stages, rates, last = list(dcn_v2_stages), list(lr_mult_list), num_stages - 1
        dcn_fits = all(-1 <= i <= last for i in stages)
        check_arguments(
            ("lr_mult_list", rates, len(rates) > last, f"{num_stages} factors, one per stage"),
            rising("return_idx", return_idx, 0, last),
            ("dcn_v2_stages", stages, dcn_fits, f"stages 0 to {last}, or [-1] for none"),
        )
        norm = {"norm_decay": norm_decay, "freeze_norm": freeze_norm}
        channels = scale_channels(ch_in, width_mult)
        self.conv1 = _stem(channels, Style(variant, 1.0, norm))
        self._stages, shapes = [], []
        for i, count in enumerate(BLOCKS[depth][:num_stages]):
            width = scale_channels(ch_in * 2**i, width_mult)
            style = Style(variant, float(rates[i]), norm, i in stages)
            block = style.basic if depth < 50 else style.bottleneck
            stage = nn.Sequential()
            for j in range(count):
                stride = 2 if j == 0 and i > 0 else 1
                part = block(channels, width, stride, project=j == 0)
                stage.add_sublayer(_block_name(i + 2, j, count), part)
                channels = width if depth < 50 else width * 4
            self._stages.append(self.add_sublayer(f"res{i + 2}", stage))
            shapes.append(ShapeSpec(channels, 4 * 2**i))
        self._returned, self.out_shape = list(return_idx), [shapes[i] for i in return_idx]
        if freeze_at >= 0:
            freeze([self.conv1, *([] if freeze_stem_only else self._stages[: freeze_at + 1])])

    def forward(self, image: Tensor) -> list[Tensor]:
        x = F.max_pool2d(self.conv1(image), 3, stride=2, padding=1)
        return chain(x, self._stages, self._returned)


def _stem(width: int, style: Style) -> nn.Sequential:
    """Image to stride 2: a 7x7 convolution (a, b) or three 3x3 ones (c, d)."""
    if style.variant in "ab":
        return nn.Sequential(("conv1", style.conv(3, width, 7, 2)))
    return nn.Sequential(
        ("conv1_1", style.conv(3, width // 2, 3, 2)),
        ("conv1_2", style.conv(width // 2, width // 2, 3)),
        ("conv1_3", style.conv(width // 2, width, 3)),
    )
