"""The contract of rules that give objects to the cells of anchor-free heads."""

from paddle import Tensor, nn

from ppdet_lite.modeling.assigners.ground_truth import GroundTruth


class CellAssigner(nn.Layer):
    """Cells to objects, at most one object per cell, for a whole batch at once."""

    __checked__ = True

    def forward(
        self,
        scores: Tensor,
        boxes_xyxy_px: Tensor,
        centers_px: Tensor,
        strides: Tensor,
        truth: GroundTruth,
    ) -> Tensor:
        """The place of the object that each cell answers for, [B, A] int64, -1 for none.

        Args:
            scores: sqrt(class x objectness) of every cell, [B, C, A] float32.
            boxes_xyxy_px: predicted boxes [B, A, 4].
            centers_px: centers of the cells (x, y), [A, 2].
            strides: pixels per cell, [A].
            truth: the objects, P places.
        """
        raise NotImplementedError
