"""The head of Gaussian YOLOv3 (arXiv:1904.04620) in YOLOv4's form, row SAM-G of its table 5."""

from collections.abc import Sequence
from typing import Optional

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Channels, Classes, Multiple, PerLevel
from ppdet_lite.modeling.geometry.gaussian_layout import VALUES
from ppdet_lite.modeling.heads.yolov4_head import YOLOV4_ANCHORS, YOLOv4Head
from ppdet_lite.modeling.losses.gaussian_box_losses import GaussianBoxLoss
from ppdet_lite.modeling.losses.yolov4_loss import YOLOv4Loss


@register
class GaussianYOLOHead(YOLOv4Head):
    """`YOLOv4Head` that predicts for every coordinate of a box a mean and a deviation, 0 to 1.

    Output channels: see `gaussian_layout`. Needs `GaussianYOLOBox` as decoder.

    Args:
        loss: None for `YOLOv4Loss` with `GaussianBoxLoss`.
        feat_channels, anchors, anchor_masks, scale_x_y, act, width_mult: see `YOLOv4Head`.
    """

    box_values = VALUES

    def __init__(
        self,
        in_channels: Sequence[Channels] = (128, 256, 512),
        feat_channels: Optional[Sequence[Channels]] = None,
        anchors: Sequence[Sequence[int]] = YOLOV4_ANCHORS,
        anchor_masks: Sequence[Sequence[int]] = ((0, 1, 2), (3, 4, 5), (6, 7, 8)),
        num_classes: Classes = 80,
        loss: Optional[YOLOv4Loss] = None,
        scale_x_y: PerLevel = (1.2, 1.1, 1.05),
        act: Act = "leaky",
        strides: Sequence[Count] = (8, 16, 32),
        width_mult: Multiple = 1.0,
    ):
        super().__init__(
            in_channels,
            feat_channels,
            anchors,
            anchor_masks,
            num_classes,
            loss or YOLOv4Loss(num_classes, GaussianBoxLoss()),
            scale_x_y=scale_x_y,
            act=act,
            strides=strides,
            width_mult=width_mult,
        )
        self.levels = [level._replace(gaussian=True) for level in self.levels]
