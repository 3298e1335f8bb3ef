"""DarkNet-53, the backbone of YOLOv3 (arXiv:1804.02767).

Parameters are named as in PaddleDetection's weight files: `conv0.conv.weight`,
`downsample0.conv_bn_layer.conv.weight`, `stage.1.basicblock0.conv1.conv.weight` for a stage's first
residual block, `stage.1.stage.1.1.conv1.conv.weight` for the next ones, and
`stage.1.downsample.conv_bn_layer.conv.weight` for the way to the stage that follows.
"""

from collections.abc import Sequence
from typing import Any, Literal

from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import between, check_arguments, nchw, one_of, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec
from ppdet_lite.modeling.layers.channels import scale_channels
from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.layers.freeze import freeze

BLOCKS = {53: (1, 2, 8, 8, 4)}
"""Depth -> residual blocks of each stage."""


def down_sample(ch_in: int, ch_out: int, norm: dict[str, Any]) -> nn.Sequential:
    """3x3 convolution block of stride 2."""
    return nn.Sequential(("conv_bn_layer", ConvBNLayer(ch_in, ch_out, 3, stride=2, **norm)))


class BasicBlock(nn.Layer):
    """1x1 to half the channels, 3x3 back to all, and the input on top."""

    def __init__(self, channels: int, norm: dict):
        super().__init__()
        self.conv1 = ConvBNLayer(channels, channels // 2, 1, **norm)
        self.conv2 = ConvBNLayer(channels // 2, channels, 3, **norm)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class Stage(nn.Layer):
    """Residual blocks at one stride; `downsample`, which belongs to it by name only, comes after.

    Args:
        index: number of the stage; part of its blocks' names.
        channels, count: of its maps, and of residual blocks.
        following: channels of the next stage, 0 without one.
    """

    def __init__(self, index: int, channels: int, count: int, following: int, norm: dict):
        super().__init__()
        names = ["basicblock0", *(f"stage.{index}.{j}" for j in range(1, count))]
        self._blocks = [self.add_sublayer(name, BasicBlock(channels, norm)) for name in names]
        self.downsample = down_sample(channels, following, norm) if following else None

    def forward(self, x: Tensor) -> Tensor:
        for block in self._blocks:
            x = block(x)
        return x


@register
class DarkNet(Backbone):
    """A stem, then stages of residual blocks.

    Args:
        depth: 53.
        freeze_at: the stem and stages 0 up to this one do not train; -1 freezes nothing.
        return_idx: stages whose output is returned, 0 (stride 2) to 4 (stride 32), rising.
        num_stages: stages built.
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
        self._return_idx = list(return_idx)
        norm: dict = {"norm_type": norm_type, "norm_decay": norm_decay, "freeze_norm": freeze_norm}
        # Halves of these channels are needed too, hence the rounding of the half.
        widths = [2 * scale_channels(32 * 2**i, width_mult) for i in range(num_stages)]
        stem = scale_channels(32, width_mult)
        self.conv0 = ConvBNLayer(3, stem, 3, **norm)
        self.downsample0 = down_sample(stem, widths[0], norm)
        self.stage = nn.LayerList(
            Stage(i, *plan, norm)
            for i, plan in enumerate(zip(widths, BLOCKS[depth], [*widths[1:], 0]))
        )
        self.out_shape = [ShapeSpec(widths[i], 2 * 2**i) for i in self._return_idx]
        if freeze_at >= 0:
            frozen = [self.conv0, self.downsample0]
            for stage in list(self.stage)[: freeze_at + 1]:
                frozen += [*stage._blocks, stage.downsample]
            # The way out of the last frozen stage already belongs to the next one.
            freeze(frozen[:-1])

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.downsample0(self.conv0(image))
        maps = []
        for i, stage in enumerate(self.stage):
            x = stage(x)
            if i in self._return_idx:
                maps.append(x)
            if stage.downsample is not None:
                x = stage.downsample(x)
        return maps
