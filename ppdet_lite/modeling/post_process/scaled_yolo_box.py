"""Decoding of scaled YOLOv4 (arXiv:2011.08036), whose outputs are sigmoids."""

from collections.abc import Sequence

import paddle
from paddle import Tensor

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.geometry.cell_grid import cell_grid
from ppdet_lite.modeling.layers.full_precision import to_float32
from ppdet_lite.modeling.post_process.box_decoders import YOLOBox, at_most, image_size, swapped


@register
class ScaledYOLOBox(YOLOBox):
    """`YOLOBox` for heads with `new_coords`: a side is anchor * (2 * output)^2, and objectness and
    classes are probabilities already. Boxes are not cut unless `clip_bbox`, and then at the width
    and height of the image.
    """

    new_coords = True

    def forward(
        self,
        outputs: Sequence[Tensor],
        levels: Sequence[AnchorLevel],
        im_shape: Tensor,
        scale_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See `YOLOBox.forward`."""
        image_hw = image_size(im_shape, scale_factor)
        image_wh, pixel_wh = (
            swapped(pair).reshape([-1, 1, 2, 1]) for pair in (image_hw, image_hw / im_shape)
        )
        boxes, scores = zip(
            *(
                self._level(to_float32(output), level, image_wh, pixel_wh)
                for output, level in zip(outputs, levels)
            )
        )
        return paddle.concat(boxes, axis=1), paddle.concat(scores, axis=2)

    def _level(
        self, output: Tensor, level: AnchorLevel, image_wh: Tensor, pixel_wh: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes [B, A H W, 4] and scores [B, C, A H W]; everything inside is [B, A, ?, HW].

        `pixel_wh` are pixels of the image per pixel of the input, of which padding is a part.
        """
        anchors, classes = len(level.anchors), self.num_classes
        cells, _ = cell_grid([output], [level.stride])
        output = output.reshape([0, anchors, 5 + classes, -1])
        anchor_wh = paddle.to_tensor(level.anchors, dtype="float32").reshape([1, anchors, 2, 1])
        scale = level.scale_x_y
        offset = scale * output[:, :, :2] - 0.5 * (scale - 1)
        center = (cells + offset) * float(level.stride) * pixel_wh
        half = (2 * output[:, :, 2:4]).square() * anchor_wh * pixel_wh / 2
        low, high = center - half, center + half
        if self.clip_bbox:
            low = low.clip(min=0.0)
            high = at_most(high, image_wh)
        confidence = output[:, :, 4:5]
        too_low = (confidence < self.conf_thresh).astype("float32")
        boxes = paddle.concat([low, high], axis=2) * (1 - too_low)
        scores = confidence * output[:, :, 5:] * (1 - too_low)
        return (
            boxes.transpose([0, 1, 3, 2]).reshape([0, -1, 4]),
            scores.transpose([0, 2, 1, 3]).reshape([0, classes, -1]),
        )
