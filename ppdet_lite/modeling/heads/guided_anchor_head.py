"""The head of ASFF's YOLOv3 (arXiv:1911.09516): guided anchors (arXiv:1901.03278) and one box per
cell without anchor."""

from collections.abc import Sequence
from typing import Literal, Optional, Union

import paddle
from paddle import Tensor, nn
from paddle.nn.initializer import KaimingNormal
from paddle.vision.ops import DeformConv2D

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import create, register
from ppdet_lite.modeling.arguments import Channels, Classes, Layout, check_arguments
from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.heads.yolov3_head import COCO_ANCHORS, YOLOv3Head
from ppdet_lite.modeling.layers.feature_adaption import FeatureAdaption
from ppdet_lite.modeling.losses.guided_anchor_loss import GuidedAnchorLoss

FREE_SIDE = 4
"""Side in cells of the box without anchor at a factor of 1."""


def _replaced(**anchors: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple(anchors.get(f"_{i}", anchor) for i, anchor in enumerate(COCO_ANCHORS))


ANCHOR_SETS = {
    "yolov3": COCO_ANCHORS,
    "asff": _replaced(_5=(42, 119), _8=(121, 240)),
    "asff_mobile": _replaced(_5=(42, 119)),
}
"""YOLOv3's, and those with which the authors trained their weights: two (42x119 and 121x240) or, on
MobileNetV2, one of them are wrong."""


@register
class GuidedAnchorHead(YOLOv3Head):
    """Per level a 1x1 convolution for factors on the anchors, a deformable 3x3 that follows them,
    and a 1x1 for boxes and scores; coarsest level first.

    A cell predicts a box for each anchor of its level and one from a square of `FREE_SIDE` cells.
    Output channels: see `guided_layout`.

    Args:
        anchors: (width, height) in whole input pixels, or a name of `ANCHOR_SETS`.
        anchor_masks: indices of the anchors of each level.
        loss: None for `GuidedAnchorLoss` with its defaults.
        adaption: use the deformable convolution.
        rfb: put an `RFB` before it, as in ASFF*.
        strides: input pixels per cell of each level; None: 32, 16, 8, ...
    """

    def __init__(
        self,
        in_channels: Sequence[Channels] = (1024, 512, 256),
        anchors: Union[
            Literal["yolov3", "asff", "asff_mobile"], Sequence[Sequence[int]]
        ] = "yolov3",
        anchor_masks: Sequence[Sequence[int]] = ((6, 7, 8), (3, 4, 5), (0, 1, 2)),
        num_classes: Classes = 80,
        loss: Optional[GuidedAnchorLoss] = None,
        adaption: bool = True,
        rfb: bool = False,
        data_format: Layout = "NCHW",
        strides: Optional[Sequence[Count]] = None,
    ):
        check_arguments(("rfb", rfb, adaption or not rfb, "false without adaption"))
        found = list(ANCHOR_SETS[anchors] if isinstance(anchors, str) else anchors)
        steps = list(strides or [32 // 2**i for i in range(len(in_channels))])
        # The box without anchor is the last one of its level.
        squares = [(FREE_SIDE * stride, FREE_SIDE * stride) for stride in steps]
        masks = [(*mask, len(found) + i) for i, mask in enumerate(anchor_masks)]
        loss = loss or GuidedAnchorLoss(num_classes)
        super().__init__(in_channels, [*found, *squares], masks, num_classes, loss, strides=steps)
        self.levels = [level._replace(guided=True) for level in self.levels]
        self.anchors = [tuple(map(int, anchor)) for anchor in found]
        self.anchor_masks = [tuple(mask) for mask in anchor_masks]
        self.guide_wh, self.adaption = nn.LayerList(), nn.LayerList()
        for channels, level in zip(in_channels, self.levels):
            boxes = len(level.anchors)
            fits = channels % (4 if rfb else 1) == 0 and channels % boxes == 0
            check_arguments(("in_channels", channels, fits or not adaption, "a multiple of 4"))
            self.guide_wh.append(nn.Conv2D(channels, 2 * boxes, 1))
            if adaption:
                self.adaption.append(FeatureAdaption(channels, boxes, rfb))
        start = KaimingNormal(negative_slope=0.1, nonlinearity="leaky_relu")
        for layer in self.sublayers():
            if isinstance(layer, (nn.Conv2D, DeformConv2D)):
                start(layer.weight)

    @classmethod
    def from_config(cls, section: Section, input_shape: Sequence[ShapeSpec] = ()) -> dict:
        """Takes channels and strides from the neck."""
        arguments = {}
        if not section.get("loss"):
            arguments["loss"] = create("GuidedAnchorLoss", section.config)
        if input_shape:
            arguments["in_channels"], arguments["strides"] = map(list, zip(*input_shape))
        return arguments

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        outputs = []
        for i, x in enumerate(features):
            guide = self.guide_wh[i](x)
            if len(self.adaption):
                x = self.adaption[i](x, guide)
            outputs.append(paddle.concat([guide, self.yolo_output[i](x)], axis=1))
        return outputs

    def get_loss(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        return self.loss(outputs, batch, self.levels, self.anchors, self.anchor_masks)
