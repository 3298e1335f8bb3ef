"""Heads of the steps of YOLOX's roadmap that have anchors (arXiv:2107.08430, figure 2)."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Assign, Normal
from paddle.regularizer import L2Decay

from ppdet_lite.core.annotations import Count, Probability
from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Channels, Classes, Multiple, check_arguments
from ppdet_lite.modeling.assigners.best_anchor import BestAnchorAssigner
from ppdet_lite.modeling.contracts import Head, ShapeSpec
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel, level_anchors
from ppdet_lite.modeling.heads.yolov3_head import COCO_ANCHORS
from ppdet_lite.modeling.heads.yolox_head import PRIOR_LOGIT
from ppdet_lite.modeling.layers.csp import BaseConv
from ppdet_lite.modeling.losses.anchor_yolox_loss import AnchorYOLOXLoss
from ppdet_lite.modeling.post_process.anchor_cell_box import AnchorCellBox
from ppdet_lite.modeling.post_process.best_class_nms import BestClassNMS
from ppdet_lite.modeling.post_process.nms_layers import NMSLayer


class AnchorYOLOXHead(Head):
    """Base of the two heads. Output channels of a level with A anchors and C classes: A IoU logits
    if `iou_aware`, then x, y, w, h, objectness and C class logits of each anchor. Levels come
    finest first.

    Args:
        anchors: (width, height) in whole input pixels.
        anchor_masks: indices of the anchors of each level.
        iou_aware: predict the IoU of each box.
        iou_aware_factor: f of score = objectness^(1 - f) * IoU^f * class.
        assigner, loss_weight: see `AnchorYOLOXLoss`.
        nms: None for `BestClassNMS`.
    """

    __shared__ = ("num_classes", "width_mult", "act")
    __inject__ = ("assigner", "nms")

    decoder_class: type[nn.Layer] = AnchorCellBox

    def __init__(
        self,
        num_classes: Classes = 80,
        width_mult: Multiple = 1.0,
        in_channels: Sequence[Channels] = (128, 256, 512),
        fpn_strides: Sequence[Count] = (8, 16, 32),
        act: Act = "silu",
        anchors: Sequence[Sequence[int]] = COCO_ANCHORS,
        anchor_masks: Sequence[Sequence[int]] = ((0, 1, 2), (3, 4, 5), (6, 7, 8)),
        iou_aware: bool = True,
        iou_aware_factor: Probability = 0.5,
        assigner: Optional[BestAnchorAssigner] = None,
        nms: Optional[NMSLayer] = None,
        loss_weight: Optional[dict[str, float]] = None,
    ):
        super().__init__()
        fits = 0 < len(in_channels) == len(fpn_strides)
        needed = f"one per level, as many as fpn_strides ({len(fpn_strides)})"
        check_arguments(("in_channels", list(in_channels), fits, needed))
        self.num_classes, self.iou_aware = num_classes, iou_aware
        factor = iou_aware_factor if iou_aware else None
        given = level_anchors(anchors, anchor_masks, len(in_channels))
        self.levels = [AnchorLevel(a, s, 1.0, factor) for a, s in zip(given, fpn_strides)]
        self.loss = AnchorYOLOXLoss(assigner, loss_weight)
        self.nms = nms or self.default_nms()
        self._build(list(in_channels), width_mult, act)

    def _build(self, in_channels: list[int], width_mult: float, act: Optional[str]) -> None:
        """Makes the layers."""
        raise NotImplementedError

    def level_outputs(self, level: int, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the outputs of a level, and the features that its boxes are made of."""
        raise NotImplementedError

    @property
    def feature_channels(self) -> list[int]:
        """Channels of the features of `level_outputs`."""
        raise NotImplementedError

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [self.level_outputs(i, x)[0] for i, x in enumerate(features)]

    def default_nms(self) -> NMSLayer:
        """Returns the NMS of a head that is given none."""
        return BestClassNMS()

    @classmethod
    def from_config(cls, section: Section, input_shape: Sequence[ShapeSpec] = ()) -> dict:
        """Takes channels and strides from the neck; values in the config are not used."""
        return dict(zip(("in_channels", "fpn_strides"), map(list, zip(*input_shape))))

    def get_loss(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        return self.loss(outputs, batch, self.levels, self.num_classes)


def output_conv(channels: int, start: Sequence[float]) -> nn.Conv2D:
    """A 1x1 convolution with the biases `start` and small weights, so that boxes start near their
    anchors: IoU has no gradient by which one that is far too large could shrink.
    """
    bias = ParamAttr(initializer=Assign(list(start)), regularizer=L2Decay(0.0))
    weight = ParamAttr(initializer=Normal(0.0, 0.01))
    return nn.Conv2D(channels, len(start), 1, weight_attr=weight, bias_attr=bias)


@register
class CoupledAnchorHead(AnchorYOLOXHead):
    """The head of YOLOv3: a 3x3 convolution to twice the channels, then all outputs by one 1x1."""

    def _build(self, in_channels: list[int], width_mult: float, act: Optional[str]) -> None:
        self.stem_conv = nn.LayerList(BaseConv(c, 2 * c, 3, act=act) for c in in_channels)
        self.outputs = nn.LayerList()
        one = [0.0] * 4 + [PRIOR_LOGIT] * (1 + self.num_classes)
        for channels, level in zip(in_channels, self.levels):
            anchors = len(level.anchors)
            start = [0.0] * (anchors * self.iou_aware) + one * anchors
            self.outputs.append(output_conv(2 * channels, start))

    def level_outputs(self, level: int, feature: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem_conv[level](feature)
        return self.outputs[level](x), x

    @property
    def feature_channels(self) -> list[int]:
        return [conv.weight.shape[1] for conv in self.outputs]

    def objectness_outputs(self) -> list[tuple[nn.Conv2D, list[int]]]:
        found = []
        for conv, level in zip(self.outputs, self.levels):
            anchors, step = len(level.anchors), 5 + self.num_classes
            first = 4 + anchors * self.iou_aware
            found.append((conv, [first + step * anchor for anchor in range(anchors)]))
        return found


@register
class DecoupledAnchorHead(AnchorYOLOXHead):
    """YOLOX's lite decoupled head: a 1x1 convolution to 256 channels, then two 3x3 for the classes
    and two for box, objectness and IoU of all anchors.
    """

    def _build(self, in_channels: list[int], width_mult: float, act: Optional[str]) -> None:
        channels = max(1, int(256 * width_mult))
        self.stem_conv = nn.LayerList(BaseConv(c, channels, 1, act=act) for c in in_channels)
        self.cls_convs, self.reg_convs = (
            nn.LayerList(
                nn.Sequential(*(BaseConv(channels, channels, 3, act=act) for _ in range(2)))
                for _ in in_channels
            )
            for _ in range(2)
        )
        counts = [len(level.anchors) for level in self.levels]
        one = [0.0] * 4 + [PRIOR_LOGIT]
        self.cls_preds = nn.LayerList(
            output_conv(channels, [PRIOR_LOGIT] * (n * self.num_classes)) for n in counts
        )
        self.reg_preds = nn.LayerList(
            output_conv(channels, [0.0] * (n * self.iou_aware) + one * n) for n in counts
        )

    def level_outputs(self, level: int, feature: Tensor) -> tuple[Tensor, Tensor]:
        anchors, stem = len(self.levels[level].anchors), self.stem_conv[level](feature)
        classes = self.cls_preds[level](self.cls_convs[level](stem))
        x = self.reg_convs[level](stem)
        box = self.reg_preds[level](x)
        first = anchors * self.iou_aware
        parts = [box[:, :first]] if first else []
        for i in range(anchors):
            parts.append(box[:, first + 5 * i : first + 5 * (i + 1)])
            parts.append(classes[:, self.num_classes * i : self.num_classes * (i + 1)])
        return paddle.concat(parts, axis=1), x

    @property
    def feature_channels(self) -> list[int]:
        return [conv.weight.shape[1] for conv in self.reg_preds]

    def objectness_outputs(self) -> list[tuple[nn.Conv2D, list[int]]]:
        found = []
        for conv, level in zip(self.reg_preds, self.levels):
            anchors = len(level.anchors)
            first = anchors * self.iou_aware + 4
            found.append((conv, [first + 5 * anchor for anchor in range(anchors)]))
        return found
