"""Decoding of heads with Gaussian boxes (arXiv:1904.04620)."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.geometry.gaussian_layout import split_gaussian
from ppdet_lite.modeling.layers.full_precision import to_float32
from ppdet_lite.modeling.post_process.box_decoders import YOLOBox


@register
class GaussianYOLOBox(YOLOBox):
    """`YOLOBox` for a `GaussianYOLOHead`: the means make the box, and scores are
    objectness x class x (1 - mean of the four deviations).

    `conf_thresh` applies to the objectness.
    """

    gaussian = True

    def forward(
        self,
        outputs: Sequence[Tensor],
        levels: Sequence[AnchorLevel],
        im_shape: Tensor,
        scale_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See `YOLOBox.forward`."""
        plain, certainties = [], []
        for output, level in zip(outputs, levels):
            anchors = len(level.anchors)
            values, logits = split_gaussian(to_float32(output), anchors, self.num_classes)
            plain.append(values)
            certainties.append(1 - F.sigmoid(logits).mean(axis=2).flatten(1))
        boxes, scores = super().forward(plain, levels, im_shape, scale_factor)
        return boxes, scores * paddle.concat(certainties, axis=1).unsqueeze(1)
