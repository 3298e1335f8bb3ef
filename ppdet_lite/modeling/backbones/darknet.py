"""DarkNet-53, the backbone of YOLOv3 (arXiv:1804.02767).

Parameters are named as in PaddleDetection's weight files: `conv0.conv.weight`,
`downsample0.conv_bn_layer.conv.weight`, `stage.1.basicblock0.conv1.conv.weight` for a stage's first
residual block, `stage.1.stage.1.1.conv1.conv.weight` for the next ones, and
`stage.1.downsample.conv_bn_layer.conv.weight` for the way to the stage that follows.
"""

from collections.abc import Sequence
from typing import Literal

from paddle import nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register, serializable
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec
from ppdet_lite.modeling.layers.channels import check_data_format, scale_channels
from ppdet_lite.modeling.layers.conv import ConvBNLayer

BLOCKS = {53: (1, 2, 8, 8, 4)}
"""Depth -> residual blocks of each stage."""


class DownSample(nn.Layer):
    """3x3 convolution block of stride 2."""

    def __init__(self, ch_in: int, ch_out: int, norm: dict):
        super().__init__()
        self.conv_bn_layer = ConvBNLayer(ch_in, ch_out, 3, stride=2, **norm)

    def forward(self, x):
        """[B, ch_in, H, W] to [B, ch_out, H / 2, W / 2]."""
        return self.conv_bn_layer(x)


class BasicBlock(nn.Layer):
    """1x1 to half the channels, 3x3 back to all, and the input on top."""

    def __init__(self, channels: int, norm: dict):
        super().__init__()
        self.conv1 = ConvBNLayer(channels, channels // 2, 1, **norm)
        self.conv2 = ConvBNLayer(channels // 2, channels, 3, **norm)

    def forward(self, x):
        return x + self.conv2(self.conv1(x))


class Stage(nn.Layer):
    """Residual blocks at one stride; `downsample`, which belongs to it by name only, comes after.

    Args:
        index: number of the stage; part of its blocks' names.
        channels: of its maps.
        count: residual blocks.
        following: channels of the next stage, 0 without one.
        norm: arguments of the batch norms.
    """

    def __init__(self, index: int, channels: int, count: int, following: int, norm: dict):
        super().__init__()
        names = ["basicblock0", *(f"stage.{index}.{j}" for j in range(1, count))]
        self._blocks = [self.add_sublayer(name, BasicBlock(channels, norm)) for name in names]
        self.downsample = DownSample(channels, following, norm) if following else None

    def forward(self, x):
        for block in self._blocks:
            x = block(x)
        return x


@register
@serializable
class DarkNet(Backbone):
    """Images [B, 3, H, W] to a list of feature maps, finest first.

    Args:
        depth: 53.
        freeze_at: the stem and stages 0 up to this one do not train; -1 freezes nothing.
        return_idx: stages whose output is returned, 0 (stride 2) to 4 (stride 32), rising.
        num_stages: stages built.
        norm_type: bn or sync_bn.
        norm_decay: L2 coefficient of batch norm parameters.
        freeze_norm: batch norms keep their stored statistics and do not train.
        width_mult: factor on all channels.
        data_format: NCHW.

    Raises:
        ConfigError: an argument that cannot be built.
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
        _check_arguments(depth, num_stages, return_idx)
        check_data_format(data_format)
        self._return_idx = list(return_idx)
        norm = {"norm_type": norm_type, "norm_decay": norm_decay, "freeze_norm": freeze_norm}
        # Halves of these channels are needed too, hence the rounding of the half.
        widths = [2 * scale_channels(32 * 2**i, width_mult) for i in range(num_stages)]
        stem = scale_channels(32, width_mult)
        self.conv0 = ConvBNLayer(3, stem, 3, **norm)
        self.downsample0 = DownSample(stem, widths[0], norm)
        self.stage = nn.LayerList(
            Stage(i, *plan, norm)
            for i, plan in enumerate(zip(widths, BLOCKS[depth], [*widths[1:], 0]))
        )
        self._out_shape = [ShapeSpec(width, 2 * 2**i) for i, width in enumerate(widths)]
        self._freeze(freeze_at)

    def _freeze(self, freeze_at: int) -> None:
        if freeze_at < 0:
            return
        frozen = [self.conv0, self.downsample0, *list(self.stage)[: freeze_at + 1]]
        for part in frozen:
            for name, parameter in part.named_parameters():
                # The way out of the last frozen stage already belongs to the next one.
                if part is not frozen[-1] or not name.startswith("downsample."):
                    parameter.stop_gradient = True
                    parameter.trainable = False

    @property
    def out_shape(self) -> list:
        """`ShapeSpec` of every returned map."""
        return [self._out_shape[i] for i in self._return_idx]

    def forward(self, image):
        """[B, 3, H, W] to the maps of `return_idx`."""
        x = self.downsample0(self.conv0(image))
        maps = []
        for i, stage in enumerate(self.stage):
            x = stage(x)
            if i in self._return_idx:
                maps.append(x)
            if stage.downsample is not None:
                x = stage.downsample(x)
        return maps


def _check_arguments(depth: int, num_stages: int, return_idx: Sequence[int]) -> None:
    problems = []
    if depth not in BLOCKS:
        problems.append(f"depth: found {depth}, allowed: {', '.join(map(str, BLOCKS))}")
    if not 1 <= num_stages <= 5:
        problems.append(f"num_stages: found {num_stages}, allowed: 1 to 5")
    if not return_idx or any(not 0 <= i < num_stages for i in return_idx):
        problems.append(
            f"return_idx: found {list(return_idx)}, allowed: stages 0 to {num_stages - 1}"
        )
    elif list(return_idx) != sorted(set(return_idx)):
        problems.append(f"return_idx: found {list(return_idx)}, needed: rising, without repeats")
    if problems:
        raise ConfigError(problems)
