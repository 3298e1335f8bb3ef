"""ResNet and its variants a to d (arXiv:1512.03385, arXiv:1812.01187), with DCNv2 stages.

Variant a puts the stride of a bottleneck on its first 1x1 convolution, b on the 3x3; c is b with
three 3x3 convolutions in place of the 7x7 stem; d is c with an average pool before the 1x1
convolution of a shrinking shortcut. Parameters are named as in PaddleDetection's weight files:
`res4.res4a.branch2b.conv.weight`, `conv1.conv1_1.norm._mean`.
"""

from collections.abc import Sequence
from typing import Literal

import paddle.nn.functional as F
from paddle import ParamAttr, nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register, serializable
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec
from ppdet_lite.modeling.layers.channels import check_data_format, scale_channels
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2
from ppdet_lite.modeling.layers.norm import batch_norm

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Depth -> residual blocks of stages res2 to res5."""


class ConvNormLayer(nn.Layer):
    """Convolution without bias, batch norm, optional ReLU; parameters `conv` and `norm`.

    `norm` holds the arguments of `batch_norm` beside the channels; its `learning_rate` is also that
    of the convolution.
    """

    def __init__(
        self, ch_in: int, ch_out: int, filter_size: int, stride: int, norm: dict, act: bool = True
    ):
        super().__init__()
        self.conv = nn.Conv2D(
            ch_in,
            ch_out,
            filter_size,
            stride=stride,
            padding=(filter_size - 1) // 2,
            weight_attr=ParamAttr(learning_rate=norm["learning_rate"]),
            bias_attr=False,
        )
        self.norm = batch_norm(ch_out, **norm)
        self._act = act

    def forward(self, x):
        x = self.norm(self.conv(x))
        return F.relu(x) if self._act else x


class DeformConvNormLayer(DeformableConvV2):
    """`ConvNormLayer` with a deformable convolution: `conv_offset`, `conv` and `norm`."""

    def __init__(
        self, ch_in: int, ch_out: int, filter_size: int, stride: int, norm: dict, act: bool = True
    ):
        super().__init__(ch_in, ch_out, filter_size, stride, norm["learning_rate"])
        self.norm = batch_norm(ch_out, **norm)
        self._act = act

    def forward(self, x):
        x = self.norm(self.convolve(x))
        return F.relu(x) if self._act else x


class PooledShortcut(nn.Layer):
    """Shortcut of variant d where the map shrinks: average pool, then a 1x1 convolution `conv`."""

    def __init__(self, ch_in: int, ch_out: int, norm: dict):
        super().__init__()
        self.pool = nn.AvgPool2D(2, stride=2, ceil_mode=True)
        self.conv = ConvNormLayer(ch_in, ch_out, 1, 1, norm, act=False)

    def forward(self, x):
        return self.conv(self.pool(x))


def _projection(ch_in: int, ch_out: int, stride: int, variant: str, norm: dict) -> nn.Layer:
    """The shortcut of a stage's first block."""
    if variant == "d" and stride == 2:
        return PooledShortcut(ch_in, ch_out, norm)
    return ConvNormLayer(ch_in, ch_out, 1, stride, norm, act=False)


class BasicBlock(nn.Layer):
    """Two 3x3 convolutions and a shortcut (ResNet 18 and 34)."""

    expansion = 1

    def __init__(
        self,
        ch_in: int,
        width: int,
        stride: int,
        project: bool,
        variant: str,
        norm: dict,
        deformable: bool,
    ):
        super().__init__()
        self.short = _projection(ch_in, width, stride, variant, norm) if project else None
        self.branch2a = ConvNormLayer(ch_in, width, 3, stride, norm)
        conv = DeformConvNormLayer if deformable else ConvNormLayer
        self.branch2b = conv(width, width, 3, 1, norm, act=False)

    def forward(self, x):
        shortcut = x if self.short is None else self.short(x)
        return F.relu(self.branch2b(self.branch2a(x)) + shortcut)


class Bottleneck(nn.Layer):
    """1x1, 3x3 and 1x1 convolution and a shortcut (ResNet 50 and deeper)."""

    expansion = 4

    def __init__(
        self,
        ch_in: int,
        width: int,
        stride: int,
        project: bool,
        variant: str,
        norm: dict,
        deformable: bool,
    ):
        super().__init__()
        ch_out = width * self.expansion
        stride_1x1, stride_3x3 = (stride, 1) if variant == "a" else (1, stride)
        self.branch2a = ConvNormLayer(ch_in, width, 1, stride_1x1, norm)
        conv = DeformConvNormLayer if deformable else ConvNormLayer
        self.branch2b = conv(width, width, 3, stride_3x3, norm)
        self.branch2c = ConvNormLayer(width, ch_out, 1, 1, norm, act=False)
        self.short = _projection(ch_in, ch_out, stride, variant, norm) if project else None

    def forward(self, x):
        shortcut = x if self.short is None else self.short(x)
        return F.relu(self.branch2c(self.branch2b(self.branch2a(x))) + shortcut)


def _block_name(stage: int, index: int, count: int) -> str:
    """Name of a block: res4a, res4b, ...; long fourth stages continue res4b1, res4b2, ..."""
    if stage == 4 and count > 10:
        return "res4a" if index == 0 else f"res4b{index}"
    return f"res{stage}{chr(ord('a') + index)}"


@register
@serializable
class ResNet(Backbone):
    """Images [B, 3, H, W] to a list of feature maps, finest first.

    Args:
        depth: 18, 34, 50, 101 or 152.
        ch_in: channels after the stem.
        variant: a, b, c or d, see the module.
        lr_mult_list: factors on the learning rate of res2 to res5.
        groups, base_width, std_senet: only the values of plain ResNet; ResNeXt and SENet are not
            built here.
        norm_type: bn or sync_bn.
        norm_decay: L2 coefficient of batch norm parameters.
        freeze_norm: batch norms keep their stored statistics and do not train.
        freeze_at: the stem and stages 0 (res2) up to this one do not train; -1 freezes nothing.
        freeze_stem_only: `freeze_at` >= 0 freezes the stem alone.
        return_idx: stages whose output is returned, 0 (stride 4) to 3 (stride 32), rising.
        dcn_v2_stages: stages whose 3x3 convolutions are deformable; [-1] or [] for none.
        num_stages: stages built.
        width_mult: factor on all channels.
        data_format: NCHW.

    Raises:
        ConfigError: an argument that cannot be built.
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
        _check_arguments(depth, variant, lr_mult_list, num_stages, return_idx, dcn_v2_stages)
        _check_plain(groups, base_width, std_senet)
        check_data_format(data_format)
        self._return_idx = list(return_idx)
        norm = {"norm_type": norm_type, "norm_decay": norm_decay, "frozen": freeze_norm}
        stem_width = scale_channels(ch_in, width_mult)
        self.conv1 = _stem(stem_width, variant, {**norm, "learning_rate": 1.0})

        block = BasicBlock if depth < 50 else Bottleneck
        channels, self._stages, self._out_shape = stem_width, [], []
        for i in range(num_stages):
            width = scale_channels(ch_in * 2**i, width_mult)
            stage = nn.Sequential()
            for j in range(BLOCKS[depth][i]):
                stage.add_sublayer(
                    _block_name(i + 2, j, BLOCKS[depth][i]),
                    block(
                        channels,
                        width,
                        stride=2 if j == 0 and i > 0 else 1,
                        project=j == 0,
                        variant=variant,
                        norm={**norm, "learning_rate": float(lr_mult_list[i])},
                        deformable=i in dcn_v2_stages,
                    ),
                )
                channels = width * block.expansion
            self._stages.append(self.add_sublayer(f"res{i + 2}", stage))
            self._out_shape.append(ShapeSpec(channels, 4 * 2**i))
        self._freeze(freeze_at, freeze_stem_only)

    def _freeze(self, freeze_at: int, stem_only: bool) -> None:
        if freeze_at < 0:
            return
        frozen = [self.conv1] if stem_only else [self.conv1, *self._stages[: freeze_at + 1]]
        for part in frozen:
            for parameter in part.parameters():
                parameter.stop_gradient = True
                parameter.trainable = False

    @property
    def out_shape(self) -> list:
        """`ShapeSpec` of every returned map."""
        return [self._out_shape[i] for i in self._return_idx]

    def forward(self, image):
        """[B, 3, H, W] to the maps of `return_idx`."""
        x = F.max_pool2d(self.conv1(image), 3, stride=2, padding=1)
        maps = []
        for i, stage in enumerate(self._stages):
            x = stage(x)
            if i in self._return_idx:
                maps.append(x)
        return maps


def _stem(width: int, variant: str, norm: dict) -> nn.Sequential:
    """Image to stride 2: one 7x7 convolution (a, b) or three 3x3 ones (c, d)."""
    if variant in "ab":
        return nn.Sequential(("conv1", ConvNormLayer(3, width, 7, 2, norm)))
    return nn.Sequential(
        ("conv1_1", ConvNormLayer(3, width // 2, 3, 2, norm)),
        ("conv1_2", ConvNormLayer(width // 2, width // 2, 3, 1, norm)),
        ("conv1_3", ConvNormLayer(width // 2, width, 3, 1, norm)),
    )


def _check_arguments(depth, variant, lr_mult_list, num_stages, return_idx, dcn_v2_stages) -> None:
    problems = []
    if depth not in BLOCKS:
        problems.append(f"depth: found {depth}, allowed: {', '.join(map(str, BLOCKS))}")
    if variant not in ("a", "b", "c", "d"):
        problems.append(f"variant: found '{variant}', allowed: a, b, c, d")
    if not 1 <= num_stages <= 4:
        problems.append(f"num_stages: found {num_stages}, allowed: 1 to 4")
    if len(lr_mult_list) < num_stages:
        problems.append(
            f"lr_mult_list: found {len(lr_mult_list)} factors, needed: {num_stages}, one per stage"
        )
    if not return_idx or any(not 0 <= i < num_stages for i in return_idx):
        problems.append(
            f"return_idx: found {list(return_idx)}, allowed: stages 0 to {num_stages - 1}"
        )
    elif list(return_idx) != sorted(set(return_idx)):
        problems.append(f"return_idx: found {list(return_idx)}, needed: rising, without repeats")
    if any(not -1 <= i < num_stages for i in dcn_v2_stages):
        problems.append(
            f"dcn_v2_stages: found {list(dcn_v2_stages)}, allowed: stages 0 to {num_stages - 1}, "
            "or [-1] for none"
        )
    if problems:
        raise ConfigError(problems)


def _check_plain(groups: int, base_width: int, std_senet: bool) -> None:
    """Refuses settings of PaddleDetection's ResNet that would build another network."""
    problems = []
    if groups != 1 or base_width != 64:
        problems.append(
            f"groups, base_width: found {groups}, {base_width}, allowed: 1, 64 (no ResNeXt)"
        )
    if std_senet:
        problems.append("std_senet: found true, allowed: false (no squeeze-and-excitation)")
    if problems:
        raise ConfigError(problems)
