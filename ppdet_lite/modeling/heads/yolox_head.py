"""The decoupled head of YOLOX (arXiv:2107.08430, section 2.1)."""

import math
from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Assign, Constant
from paddle.regularizer import L2Decay

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Channels, Classes, Multiple, check_arguments
from ppdet_lite.modeling.assigners.cell_assigner import CellAssigner
from ppdet_lite.modeling.contracts import Head, ShapeSpec
from ppdet_lite.modeling.geometry.cell_grid import CellLevel
from ppdet_lite.modeling.layers.csp import BaseConv, conv_class
from ppdet_lite.modeling.losses.yolox_loss import YOLOXLoss
from ppdet_lite.modeling.post_process.box_decoders import CellBox
from ppdet_lite.modeling.post_process.nms_layers import MultiClassNMS, NMSLayer

PRIOR, PRIOR_CELLS = 0.01, 5
"""Objectness and class scores of an untrained network, and the sides of its boxes in cells."""

PRIOR_LOGIT = math.log(PRIOR / (1 - PRIOR))


@register
class YOLOXHead(Head):
    """One anchor-free box per cell, with a branch for classes and one for box and objectness.

    Output channels of a level with C classes: x, y, w, h, objectness, C class logits. Levels come
    finest first.

    Args:
        depthwise: use depthwise separable 3x3 convolutions.
        feat_channels: channels of the branches before `width_mult`.
        fpn_strides: input pixels per cell of each level.
        l1_epoch, assigner, loss_weight: see `YOLOXLoss`.
        nms: None for `MultiClassNMS` with the published settings.
    """

    __shared__ = ("num_classes", "width_mult", "act")
    __inject__ = ("assigner", "nms")
    __unused__ = ("trt", "exclude_nms", "exclude_post_process")

    loss_class: type[YOLOXLoss] = YOLOXLoss
    decoder_class: type[nn.Layer] = CellBox

    def __init__(
        self,
        num_classes: Classes = 80,
        width_mult: Multiple = 1.0,
        depthwise: bool = False,
        in_channels: Sequence[Channels] = (256, 512, 1024),
        feat_channels: Channels = 256,
        fpn_strides: Sequence[Count] = (8, 16, 32),
        l1_epoch: int = 285,
        act: Act = "silu",
        assigner: Optional[CellAssigner] = None,
        nms: Optional[NMSLayer] = None,
        loss_weight: Optional[dict[str, float]] = None,
    ):
        super().__init__()
        fits = 0 < len(in_channels) == len(fpn_strides)
        needed = f"one per level, as many as fpn_strides ({len(fpn_strides)})"
        check_arguments(("in_channels", list(in_channels), fits, needed))
        self.num_classes = num_classes
        self.levels = [CellLevel(stride) for stride in fpn_strides]
        self.loss = self.loss_class(assigner, loss_weight, l1_epoch)
        self.nms = nms or self.default_nms()
        channels = max(1, int(feat_channels * width_mult))
        conv = conv_class(depthwise)

        def branch(sides: int, logits: int) -> nn.Sequential:
            convs = [conv(channels, channels, 3, act=act) for _ in range(2)]
            return nn.Sequential(*convs, self.output_layer(channels, sides, logits))

        self.stem_conv = nn.LayerList(BaseConv(c, channels, 1, act=act) for c in in_channels)
        self.conv_cls = nn.LayerList(branch(0, num_classes) for _ in in_channels)
        self.conv_reg = nn.LayerList(branch(4, 1) for _ in in_channels)
        self.add_branches(channels, act)

    def add_branches(self, channels: int, act: Optional[str]) -> None:
        """Adds further branches of so many channels; for subclasses that have some."""

    def default_nms(self) -> NMSLayer:
        """Returns the NMS of a head that is given none."""
        return MultiClassNMS(0.001, 10000, 1000, nms_threshold=0.65)

    def output_layer(self, channels: int, sides: int, logits: int) -> nn.Conv2D:
        """Returns the last convolution of a branch, for the four numbers of a box (`sides` is 4 or
        0) and `logits` scores. Its weights start at 0, so the first output is the bias.
        """
        prior_side = math.log(PRIOR_CELLS)
        bias = [0.0, 0.0, prior_side, prior_side][:sides] + [PRIOR_LOGIT] * logits
        zero = ParamAttr(initializer=Constant(0.0))
        start = ParamAttr(initializer=Assign(bias), regularizer=L2Decay(0.0))
        return nn.Conv2D(channels, len(bias), 1, weight_attr=zero, bias_attr=start)

    @classmethod
    def from_config(cls, section: Section, input_shape: Sequence[ShapeSpec] = ()) -> dict:
        """Takes channels and strides from the neck; values in the config are not used."""
        return dict(zip(("in_channels", "fpn_strides"), map(list, zip(*input_shape))))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        stems = [stem(feature) for stem, feature in zip(self.stem_conv, features)]
        branches = zip(stems, self.conv_reg, self.conv_cls)
        return [paddle.concat([box(x), classes(x)], axis=1) for x, box, classes in branches]

    def get_loss(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        return self.loss(outputs, batch, [level.stride for level in self.levels])

    def objectness_outputs(self) -> list[tuple[nn.Conv2D, list[int]]]:
        return [(branch[-1], [4]) for branch in self.conv_reg]
