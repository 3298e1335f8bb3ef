"""The head of YOLOv3 (arXiv:1804.02767) with PP-YOLO's IoU prediction (arXiv:1912.05992)."""

from collections.abc import Sequence
from typing import Optional

from paddle import ParamAttr, Tensor, nn
from paddle.regularizer import L2Decay

from ppdet_lite.core.annotations import Count, Probability
from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import create, register
from ppdet_lite.modeling.arguments import Channels, Classes, Layout, PerLevel
from ppdet_lite.modeling.contracts import Head, ShapeSpec
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel, agreed_value, level_anchors
from ppdet_lite.modeling.losses.yolov3_loss import YOLOv3Loss

COCO_ANCHORS = (
    *((10, 13), (16, 30), (33, 23)),
    *((30, 61), (62, 45), (59, 119)),
    *((116, 90), (156, 198), (373, 326)),
)


@register
class YOLOv3Head(Head):
    """A 1x1 convolution per level, coarsest level first.

    Output channels of a level with A anchors and C classes: A IoU logits if `iou_aware`, then x, y,
    w, h, objectness and C class logits of each anchor.

    Args:
        anchors: (width, height) in whole input pixels.
        anchor_masks: indices of the anchors of each level.
        loss: None for `YOLOv3Loss` with its defaults.
        iou_aware: predict the IoU of each box.
        iou_aware_factor: f of score = objectness^(1 - f) * IoU^f * class.
        scale_x_y: grid sensitivity, for all levels or per level; None: that of the loss, or 1.
        strides: input pixels per cell of each level; None: those of the loss, or 32, 16, 8, ...
    """

    __shared__ = ("num_classes", "data_format")
    __inject__ = ("loss",)

    box_values = 4
    """Channels of a box: x, y, w, h."""

    def __init__(
        self,
        in_channels: Sequence[Channels] = (1024, 512, 256),
        anchors: Sequence[Sequence[int]] = COCO_ANCHORS,
        anchor_masks: Sequence[Sequence[int]] = ((6, 7, 8), (3, 4, 5), (0, 1, 2)),
        num_classes: Classes = 80,
        loss: Optional[YOLOv3Loss] = None,
        iou_aware: bool = False,
        iou_aware_factor: Probability = 0.4,
        data_format: Layout = "NCHW",
        scale_x_y: Optional[PerLevel] = None,
        strides: Optional[Sequence[Count]] = None,
    ):
        super().__init__()
        self.loss = loss or YOLOv3Loss(num_classes)
        self.num_classes, self.iou_aware = num_classes, iou_aware
        count, factor = len(in_channels), iou_aware_factor if iou_aware else None
        # Other loss classes may lack the attributes.
        loss_scales = getattr(self.loss, "scale_x_y", None)
        scales = {"YOLOv3Head.scale_x_y": scale_x_y, "YOLOv3Loss.scale_x_y": loss_scales}
        loss_strides = getattr(self.loss, "downsample", None)
        stated = {"YOLOv3Head.strides": strides, "YOLOv3Loss.downsample": loss_strides}
        halved = [32 // 2**i for i in range(count)]
        facts = zip(
            level_anchors(anchors, anchor_masks, count),
            agreed_value("the stride of each level", stated, count) or halved,
            agreed_value("grid sensitivity", scales, count) or [1.0] * count,
        )
        self.levels = [AnchorLevel(*fact, factor) for fact in facts]
        self.yolo_output = nn.LayerList()
        for channels, level in zip(in_channels, self.levels):
            outputs = len(level.anchors) * (self.box_values + 1 + num_classes + iou_aware)
            bias_attr = ParamAttr(regularizer=L2Decay(0.0))
            self.yolo_output.append(nn.Conv2D(channels, outputs, 1, bias_attr=bias_attr))

    @classmethod
    def from_config(cls, section: Section, input_shape: Sequence[ShapeSpec] = ()) -> dict:
        """Takes channels and strides from the neck."""
        arguments = {} if section.get("loss") else {"loss": create("YOLOv3Loss", section.config)}
        if input_shape:
            arguments["in_channels"], arguments["strides"] = map(list, zip(*input_shape))
        return arguments

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [conv(feature) for conv, feature in zip(self.yolo_output, features)]

    def get_loss(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        return self.loss(outputs, batch, self.levels, self.iou_aware)

    def objectness_outputs(self) -> list[tuple[nn.Conv2D, list[int]]]:
        found = []
        for conv, level in zip(self.yolo_output, self.levels):
            anchors = len(level.anchors)
            first = self.box_values + anchors * self.iou_aware
            step = self.box_values + 1 + self.num_classes
            found.append((conv, [first + step * anchor for anchor in range(anchors)]))
        return found
