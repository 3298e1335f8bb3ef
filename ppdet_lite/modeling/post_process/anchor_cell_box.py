"""Decoding of heads with anchors whose images are letterboxed."""

from collections.abc import Sequence
from typing import Optional

import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.modeling.geometry.anchor_grid import anchor_grid, flatten_anchors
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.layers.full_precision import to_float32
from ppdet_lite.modeling.post_process.box_decoders import swapped


class AnchorCellBox(nn.Layer):
    """Raw outputs of a head with anchors to boxes and scores, objectness^(1 - f) * IoU^f * class.

    Boxes are decoded in pixels of the network input and divided by `scale_factor`, so images may be
    padded right and below; they are not cut at the borders. Every prediction is a candidate.
    """

    conf_thresh = 0.0

    def forward(
        self,
        outputs: Sequence[Tensor],
        levels: Sequence[AnchorLevel],
        im_shape: Optional[Tensor],
        scale_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Same as `YOLOBox.forward`, but ignores `im_shape`."""
        anchors, is_aware = len(levels[0].anchors), levels[0].iou_aware_factor is not None
        classes = (outputs[0].shape[1] - anchors * is_aware) // anchors - 5
        flat = flatten_anchors([to_float32(output) for output in outputs], levels, classes)
        boxes = anchor_grid(outputs, levels).boxes(flat.box)
        scale_xy = swapped(scale_factor).reshape([-1, 1, 1, 2])
        boxes = (boxes.reshape([0, -1, 2, 2]) / scale_xy).reshape([0, -1, 4])
        confidence = F.sigmoid(flat.objectness)
        factor = levels[0].iou_aware_factor
        if flat.iou is not None and factor is not None:
            confidence = confidence ** (1 - factor) * F.sigmoid(flat.iou) ** factor
        return boxes, confidence.unsqueeze(1) * F.sigmoid(flat.classes)
