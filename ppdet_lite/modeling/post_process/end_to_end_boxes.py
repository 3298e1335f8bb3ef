"""Decoding of the heads of NMS-free YOLOX."""

from collections.abc import Sequence
from typing import Any, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.modeling.layers.full_precision import to_float32
from ppdet_lite.modeling.post_process.anchor_cell_box import AnchorCellBox
from ppdet_lite.modeling.post_process.product_cell_box import ProductCellBox


class SingleCellBox(nn.Layer):
    """`ProductCellBox` of outputs that a logit precedes, whose sigmoid multiplies the scores: it is
    low where another cell answers for the object.
    """

    conf_thresh = 0.0
    inner_class: type[nn.Layer] = ProductCellBox

    def __init__(self) -> None:
        super().__init__()
        self.inner = self.inner_class()

    def forward(
        self,
        outputs: Sequence[Tensor],
        levels: Sequence[Any],
        im_shape: Optional[Tensor],
        scale_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Same as that of the decoder inside."""
        singles, rest = split_singles(outputs, levels)
        boxes, scores = self.inner(rest, levels, im_shape, scale_factor)
        return boxes, scores * F.sigmoid(to_float32(singles)).unsqueeze(1)


class SingleAnchorBox(SingleCellBox):
    """The same for heads with anchors, with a logit for each."""

    inner_class = AnchorCellBox


def anchors_of(level: Any) -> int:
    """The number of predictions of a cell."""
    return len(getattr(level, "anchors", (None,)))


def split_singles(outputs: Sequence[Tensor], levels: Sequence[Any]) -> tuple[Tensor, list[Tensor]]:
    """Logits [B, N] that precede the raw outputs of each level, and these without them."""
    counts = [anchors_of(level) for level in levels]
    singles = [output[:, :count].flatten(1) for output, count in zip(outputs, counts)]
    rest = [output[:, count:] for output, count in zip(outputs, counts)]
    return paddle.concat(singles, axis=1), rest
