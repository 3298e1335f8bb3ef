"""DarkNet-53, the backbone of YOLOv3 (arXiv:1804.02767).

Parameters have the names of PaddleDetection's weight files: `conv0.conv.weight`,
`downsample0.conv_bn_layer.conv.weight`, `stage.1.basicblock0.conv1.conv.weight` in the first
residual block of a stage, `stage.1.stage.1.1.conv1.conv.weight` in the second, and
`stage.1.downsample.conv_bn_layer.conv.weight` before the next stage.
"""

from collections.abc import Sequence
from typing import Any, Literal

from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import between, check_arguments, nchw, one_of, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain
from ppdet_lite.modeling.layers.channels import scale_channels
from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.layers.freeze import freeze

BLOCKS = {53: (1, 2, 8, 8, 4)}
"""Depth -> residual blocks of each stage."""


def downsample(ch_in: int, ch_out: int, norm: dict[str, Any]) -> nn.Sequential:
    """3x3 convolution block of stride 2."""
    return nn.Sequential(("conv_bn_layer", ConvBNLayer(ch_in, ch_out, 3, stride=2, **norm)))


class BasicBlock(nn.Layer):
    """Residual block: 1x1 to half the channels, 3x3 back to all."""

    def __init__(self, channels: int, norm: dict):
        super().__init__()
        self.conv1 = ConvBNLayer(channels, channels // 2, 1, **norm)
        self.conv2 = ConvBNLayer(channels // 2, channels, 3, **norm)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class Stage(nn.Layer):
    """`count` residual blocks; `downsample` to the next stage only has its name here.

    `following` is the number of channels of the next stage, 0 for none.
    """

    def __init__(self, index: int, channels: int, count: int, following: int, norm: dict):
        super().__init__()
        names = ["basicblock0", *(f"stage.{index}.{j}" for j in range(1, count))]
        self._blocks = [self.add_sublayer(name, BasicBlock(channels, norm)) for name in names]
        self.downsample = downsample(channels, following, norm) if following else None

    def forward(self, x: Tensor) -> Tensor:
        for block in self._blocks:
            x = block(x)
        return x


@register
class DarkNet(Backbone):
    """A stem and stages of residual blocks.

    Args:
        freeze_at: last frozen stage, the stem and earlier ones included; -1 freezes nothing.
        return_idx: returned stages, 0 (stride 2) to 4 (stride 32).
        norm_type, norm_decay, freeze_norm: see `batch_norm`.
        width_mult: factor on all channels.
    """

    __shared__ = ("norm_type", "width_mult", "data_format")

    def __init__(
        self,
        depth: Literal[53] = 53,
        freeze_at: int = -1,
        return_idx: Sequence[int] = (2, 3, 4),
        num_stages: int = 5,
        norm_type: str = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = False,
        width_mult: float = 1.0,
        data_format: str = "NCHW",
    ):
        super().__init__()
        check_arguments(
            one_of("depth", depth, list(BLOCKS)),
            between("num_stages", num_stages, 1, 5),
            rising("return_idx", return_idx, 0, num_stages - 1),
            nchw(data_format),
        )
        norm: dict = {"norm_type": norm_type, "norm_decay": norm_decay, "freeze_norm": freeze_norm}
        # Halves of these channels are needed too, hence the rounding of the half.
        widths = [2 * scale_channels(32 * 2**i, width_mult) for i in range(num_stages)]
        stem = scale_channels(32, width_mult)
        self.conv0 = ConvBNLayer(3, stem, 3, **norm)
        self.downsample0 = downsample(stem, widths[0], norm)
        plans = enumerate(zip(widths, BLOCKS[depth], [*widths[1:], 0]))
        self.stage = nn.LayerList(Stage(i, *plan, norm) for i, plan in plans)
        self._layers = [self.conv0]
        for before, stage in zip(
            [self.downsample0, *(s.downsample for s in self.stage)], self.stage
        ):
            self._layers += [before, stage]
        self._returned = [2 * i + 2 for i in return_idx]
        self.out_shape = [ShapeSpec(widths[i], 2 * 2**i) for i in return_idx]
        if freeze_at >= 0:
            frozen = [self.conv0, self.downsample0]
            for stage in list(self.stage)[: freeze_at + 1]:
                frozen += [*stage._blocks, stage.downsample]
            # `downsample` after the last frozen stage belongs to the next one.
            freeze(frozen[:-1])

    def forward(self, image: Tensor) -> list[Tensor]:
        return chain(image, self._layers, self._returned)
