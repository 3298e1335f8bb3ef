"""The heads of YOLOv4 (arXiv:2004.10934), YOLOv4-tiny and scaled YOLOv4-CSP (arXiv:2011.08036)."""

from collections.abc import Sequence
from typing import Optional

import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import create, register
from ppdet_lite.modeling.arguments import (
    Act,
    Channels,
    Classes,
    Multiple,
    PerLevel,
    check_arguments,
)
from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.heads.yolov3_head import YOLOv3Head
from ppdet_lite.modeling.layers.conv import ConvBNLayer, scale_channels
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.losses.yolov4_loss import YOLOv4Loss

YOLOV4_ANCHORS = (
    *((12, 16), (19, 36), (40, 28)),
    *((36, 75), (76, 55), (72, 146)),
    *((142, 110), (192, 243), (459, 401)),
)


@register
class YOLOv4Head(YOLOv3Head):
    """A 3x3 and a 1x1 convolution per level, in the order of the neck's maps.

    Output channels of a level with A anchors and C classes: x, y, w, h, objectness and C classes of
    each anchor. All are logits (w and h logarithms) unless `new_coords`.

    Args:
        feat_channels: channels of the 3x3 of each level; None: twice those of its map.
        anchors: (width, height) in whole input pixels; one that no mask names only competes for
            objects.
        anchor_masks: indices of the anchors of each level.
        scale_x_y: grid sensitivity, for all levels or per level.
        new_coords: outputs pass the sigmoid in the head, and a box side is
            anchor * (2 * output)^2.
        act: activation of the 3x3.
        width_mult: factor on `feat_channels`.
    """

    __shared__ = ("num_classes", "width_mult")

    def __init__(
        self,
        in_channels: Sequence[Channels] = (128, 256, 512),
        feat_channels: Optional[Sequence[Channels]] = None,
        anchors: Sequence[Sequence[int]] = YOLOV4_ANCHORS,
        anchor_masks: Sequence[Sequence[int]] = ((0, 1, 2), (3, 4, 5), (6, 7, 8)),
        num_classes: Classes = 80,
        loss: Optional[YOLOv4Loss] = None,
        scale_x_y: PerLevel = (1.2, 1.1, 1.05),
        new_coords: bool = False,
        act: Act = "leaky",
        strides: Sequence[Count] = (8, 16, 32),
        width_mult: Multiple = 1.0,
    ):
        count = len(in_channels)
        if feat_channels is None:
            widths = [2 * channels for channels in in_channels]
        else:
            widths = [scale_channels(channels, width_mult) for channels in feat_channels]
        check_arguments(("feat_channels", feat_channels, len(widths) == count, f"{count} numbers"))
        loss = loss or YOLOv4Loss(num_classes)
        self._check_loss(loss)
        super().__init__(
            widths,
            anchors,
            anchor_masks,
            num_classes,
            loss,
            scale_x_y=scale_x_y,
            strides=strides,
        )
        self.new_coords = new_coords
        self.levels = [level._replace(new_coords=new_coords) for level in self.levels]
        self.anchors = [tuple(map(int, anchor)) for anchor in anchors]
        self.anchor_masks = [tuple(mask) for mask in anchor_masks]
        pairs = zip(in_channels, widths)
        self.yolo_conv = nn.LayerList(ConvBNLayer(*pair, 3, act=act) for pair in pairs)

    def _check_loss(self, loss: nn.Layer) -> None:
        found = getattr(loss, "box_loss", None)  # a user's own loss may lack it
        fits = getattr(found, "box_values", self.box_values) == self.box_values
        needed = "a GaussianBoxLoss or DarknetGaussianLoss for GaussianYOLOHead, and for it only"
        check_arguments(("loss.box_loss", type(found).__name__, fits, needed))

    @classmethod
    def from_config(cls, section: Section, input_shape: Sequence[ShapeSpec] = ()) -> dict:
        """Takes channels and strides from the neck."""
        arguments = {} if section.get("loss") else {"loss": create("YOLOv4Loss", section.config)}
        if input_shape:
            arguments["in_channels"], arguments["strides"] = map(list, zip(*input_shape))
        return arguments

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        outputs = super().forward([conv(x) for conv, x in zip(self.yolo_conv, features)])
        if not self.new_coords:
            return outputs
        with full_precision():
            return [F.sigmoid(to_float32(output)) for output in outputs]

    def get_loss(self, outputs: Sequence[Tensor], batch: dict) -> dict[str, Tensor]:
        return self.loss(outputs, batch, self.levels, self.anchors, self.anchor_masks)
