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
from ppdet_lite.modeling.arguments import Layout, Multiple, NormType, check_arguments, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain, freeze
from ppdet_lite.modeling.layers.conv import ConvBNLayer, scale_channels

BLOCKS = {53: (1, 2, 8, 8, 4)}
"""Depth -> residual blocks of each stage."""


class BasicBlock(nn.Layer):
    """Residual block: 1x1 to half the channels, 3x3 back to all."""

    def __init__(self, channels: int, **norm: Any):
        super().__init__()
        self.conv1 = ConvBNLayer(channels, channels // 2, 1, **norm)
        self.conv2 = ConvBNLayer(channels // 2, channels, 3, **norm)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


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
        num_stages: Literal[1, 2, 3, 4, 5] = 5,
        norm_type: NormType = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = False,
        width_mult: Multiple = 1.0,
        data_format: Layout = "NCHW",
    ):
        super().__init__()
        check_arguments(rising("return_idx", return_idx, 0, num_stages - 1))
        norm: dict[str, Any] = {"norm_decay": norm_decay, "freeze_norm": freeze_norm}

        def downsample(ch_in: int, ch_out: int) -> nn.Layer:
            return nn.Sequential(("conv_bn_layer", ConvBNLayer(ch_in, ch_out, 3, stride=2, **norm)))

        # Halves of these channels are needed too, hence the rounding of the half.
        widths = [2 * scale_channels(32 * 2**i, width_mult) for i in range(num_stages)]
        stem = scale_channels(32, width_mult)
        self.conv0 = ConvBNLayer(3, stem, 3, **norm)
        self.downsample0 = before = downsample(stem, widths[0])
        self.stage, ends = nn.LayerList(), []
        self._layers = [self.conv0]
        for i, (width, count) in enumerate(zip(widths, BLOCKS[depth])):
            stage = nn.Layer()
            names = ["basicblock0", *(f"stage.{i}.{j}" for j in range(1, count))]
            blocks = [stage.add_sublayer(name, BasicBlock(width, **norm)) for name in names]
            self._layers += [before, *blocks]
            ends.append(len(self._layers))
            if i < num_stages - 1:
                before = stage.downsample = downsample(width, widths[i + 1])
            self.stage.append(stage)
        self._returned = [ends[i] - 1 for i in return_idx]
        self.out_shape = [ShapeSpec(widths[i], 2 * 2**i) for i in return_idx]
        if freeze_at >= 0:
            freeze(self._layers[: max(ends[: freeze_at + 1])])

    def forward(self, image: Tensor) -> list[Tensor]:
        return chain(image, self._layers, self._returned)
