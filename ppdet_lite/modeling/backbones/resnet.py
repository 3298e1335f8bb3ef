"""ResNet and its variants a to d (arXiv:1512.03385, arXiv:1812.01187), with DCNv2 stages.

Variant a has the stride of a bottleneck in its first 1x1 convolution, b in the 3x3; c is b with
three 3x3 convolutions instead of the 7x7 stem; d is c with average pooling before the 1x1
convolution of strided shortcuts. Parameters have the names of PaddleDetection's weight files:
`res4.res4a.branch2b.conv.weight`, `conv1.conv1_1.norm._mean`.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Optional, Union

import paddle.nn.functional as F
from paddle import ParamAttr, Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import between, check_arguments, nchw, one_of, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain
from ppdet_lite.modeling.layers.channels import scale_channels
from ppdet_lite.modeling.layers.conv import ConvNorm
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2
from ppdet_lite.modeling.layers.freeze import freeze

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Depth -> residual blocks of stages res2 to res5."""


class Style(NamedTuple):
    """Variant, learning rate factor, arguments of `batch_norm` and kind of 3x3 convolutions."""

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


class BasicBlock(nn.Layer):
    """Two 3x3 convolutions and a shortcut (ResNet 18 and 34)."""

    expansion = 1

    def __init__(self, ch_in: int, width: int, stride: int, project: bool, style: Style):
        super().__init__()
        self.short = style.shortcut(ch_in, width, stride) if project else None
        self.branch2a = style.conv(ch_in, width, 3, stride)
        self.branch2b = style.conv(width, width, 3, act=None, deformable=style.deformable)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.short is None else self.short(x)
        return F.relu(self.branch2b(self.branch2a(x)) + shortcut)


class Bottleneck(nn.Layer):
    """1x1, 3x3 and 1x1 convolution and a shortcut (ResNet 50 and deeper)."""

    expansion = 4

    def __init__(self, ch_in: int, width: int, stride: int, project: bool, style: Style):
        super().__init__()
        ch_out = width * self.expansion
        stride_1x1, stride_3x3 = (stride, 1) if style.variant == "a" else (1, stride)
        self.branch2a = style.conv(ch_in, width, 1, stride_1x1)
        self.branch2b = style.conv(width, width, 3, stride_3x3, deformable=style.deformable)
        self.branch2c = style.conv(width, ch_out, 1, act=None)
        self.short = style.shortcut(ch_in, ch_out, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.short is None else self.short(x)
        return F.relu(self.branch2c(self.branch2b(self.branch2a(x))) + shortcut)


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
        ch_in: int = 64,
        variant: Literal["a", "b", "c", "d"] = "b",
        lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        groups: int = 1,
        base_width: int = 64,
        norm_type: str = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = True,
        freeze_at: int = 0,
        return_idx: Sequence[int] = (0, 1, 2, 3),
        dcn_v2_stages: Sequence[int] = (-1,),
        num_stages: int = 4,
        std_senet: bool = False,
        freeze_stem_only: bool = False,
        width_mult: float = 1.0,
        data_format: str = "NCHW",
    ):
        super().__init__()
        stages, rates, last = list(dcn_v2_stages), list(lr_mult_list), num_stages - 1
        dcn_fits = all(-1 <= i <= last for i in stages)
        check_arguments(
            one_of("depth", depth, list(BLOCKS)),
            one_of("variant", variant, "abcd"),
            between("num_stages", num_stages, 1, 4),
            ("lr_mult_list", rates, len(rates) > last, f"{num_stages} factors, one per stage"),
            rising("return_idx", return_idx, 0, last),
            ("dcn_v2_stages", stages, dcn_fits, f"stages 0 to {last}, or [-1] for none"),
            ("groups", groups, groups == 1, "1 (no ResNeXt)"),
            ("base_width", base_width, base_width == 64, "64 (no ResNeXt)"),
            ("std_senet", std_senet, not std_senet, "false (no squeeze-and-excitation)"),
            nchw(data_format),
        )
        norm = {"norm_type": norm_type, "norm_decay": norm_decay, "freeze_norm": freeze_norm}
        channels = scale_channels(ch_in, width_mult)
        self.conv1 = _stem(channels, Style(variant, 1.0, norm))
        block: type[Union[BasicBlock, Bottleneck]] = BasicBlock if depth < 50 else Bottleneck
        self._stages, shapes = [], []
        for i, count in enumerate(BLOCKS[depth][:num_stages]):
            width = scale_channels(ch_in * 2**i, width_mult)
            style = Style(variant, float(rates[i]), norm, i in stages)
            stage = nn.Sequential()
            for j in range(count):
                stride = 2 if j == 0 and i > 0 else 1
                part = block(channels, width, stride, project=j == 0, style=style)
                stage.add_sublayer(_block_name(i + 2, j, count), part)
                channels = width * block.expansion
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
