"""ASFF (arXiv:1911.09516): every level of a neck becomes a weighted sum of all its levels."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import create, register
from ppdet_lite.modeling.arguments import Act, Channels, Multiple, check_arguments
from ppdet_lite.modeling.contracts import Neck, ShapeSpec
from ppdet_lite.modeling.layers.conv import scale_channels
from ppdet_lite.modeling.necks.adaptive_fusion import AdaptiveFusion
from ppdet_lite.modeling.necks.route_fpn import YOLOv3RouteFPN


@register
class ASFF(Neck):
    """`AdaptiveFusion` on every level of another neck; the order of its maps stays.

    Args:
        neck: any with two levels or more, whose strides differ by powers of 2; None for
            `YOLOv3RouteFPN`.
        channels: in which the maps of each level are added; None: those of the neck's maps.
        out_channels: of each level after the sum; None: those of `channels`.
        weight_channels: channels from which the weights of a map are predicted; 16, or 8 in ASFF*.
        act: of the convolutions.
        width_mult: factor on `channels` and `out_channels`.
    """

    __shared__ = ("width_mult",)
    __inject__ = ("neck",)

    def __init__(
        self,
        neck: Optional[Neck] = None,
        channels: Optional[Sequence[Channels]] = None,
        out_channels: Optional[Sequence[Channels]] = (1024, 512, 256),
        weight_channels: Channels = 16,
        act: Act = "leaky",
        width_mult: Multiple = 1.0,
    ):
        super().__init__()
        self.neck = neck or YOLOv3RouteFPN(width_mult=width_mult)
        shapes = [ShapeSpec(*shape) for shape in self.neck.out_shape]
        count, strides = len(shapes), [shape.stride for shape in shapes]
        unit = min(strides)
        fits = all(stride % unit == 0 and _is_power(stride // unit) for stride in strides)
        needed = f"{count} numbers, one for each level of the neck"
        check_arguments(
            ("neck", strides, count > 1 and fits, "levels whose strides differ by powers of 2"),
            ("channels", channels, channels is None or len(channels) == count, needed),
            ("out_channels", out_channels, not out_channels or len(out_channels) == count, needed),
        )

        def scaled(widths: Optional[Sequence[int]], otherwise: list[int]) -> list[int]:
            found = [scale_channels(width, width_mult) for width in widths or ()]
            return found or otherwise

        inner = scaled(channels, [shape.channels for shape in shapes])
        outer = scaled(out_channels, inner)
        self.out_shape = [ShapeSpec(*pair) for pair in zip(outer, strides)]
        self.fusion = nn.LayerList(
            AdaptiveFusion(shapes, ShapeSpec(width, stride), out, weight_channels, act)
            for width, out, stride in zip(inner, outer, strides)
        )

    @classmethod
    def from_config(cls, section: Section, input_shape: Sequence[ShapeSpec]) -> dict:
        """Builds the other neck for the maps of the backbone."""
        neck = section.get("neck") or "YOLOv3RouteFPN"
        return {"neck": create(neck, section.config, input_shape=input_shape)}

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        maps = self.neck(features)
        return [fusion(maps) for fusion in self.fusion]

    @paddle.no_grad()
    def fusion_weights(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Weights of all levels in each cell of each level, [B, levels, H_i, W_i]; see
        `AdaptiveFusion.fusion_weights`."""
        maps = self.neck(features)
        return [fusion.fusion_weights(fusion.resized(maps)) for fusion in self.fusion]


def _is_power(number: int) -> bool:
    """True for powers of 2."""
    return number & (number - 1) == 0
