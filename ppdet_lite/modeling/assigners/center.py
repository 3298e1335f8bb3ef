"""Cells at the center of an object, on the level of its size (FCOS, arXiv:1904.01355)."""

from typing import Annotated

import paddle
from paddle import Tensor

from ppdet_lite.core.annotations import Rule
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.assigners.cell_assigner import CellAssigner
from ppdet_lite.modeling.assigners.ground_truth import GroundTruth

Reach = Annotated[int, Rule(lambda n: 0 <= n <= 16, "0 to 16")]


@register
class CenterAssigner(CellAssigner):
    """An object takes the cell that holds its center, and those around it, on one level.

    The level is that of stride s where half of the object's longer side is above 4 s and at most
    8 s; the finest takes all that are smaller, the coarsest all that are larger (with strides 8, 16
    and 32 the limits are 64 and 128 pixels, the first of FCOS). A cell that several objects take
    goes to the smallest of them.

    Args:
        reach: cells on each side of the center that are taken too; 0 is one cell, 1 is 3 x 3.
    """

    def __init__(self, reach: Reach = 0):
        super().__init__()
        self.reach = reach

    @paddle.no_grad()
    def forward(
        self,
        scores: Tensor,
        boxes_xyxy_px: Tensor,
        centers_px: Tensor,
        strides: Tensor,
        truth: GroundTruth,
    ) -> Tensor:
        """See `CellAssigner.forward`; predictions (`scores`, `boxes_xyxy_px`) do not matter."""
        objects = truth.boxes_xyxy_px.unsqueeze(2)
        size = objects[..., 2:] - objects[..., :2]
        half = size.max(axis=-1) / 2  # [B, P, 1]
        above = 4 * strides * (strides > strides.min()).astype("float32")
        below = 8 * strides + 1e9 * (strides >= strides.max()).astype("float32")
        is_level = paddle.logical_and(half > above, half <= below)
        sides = strides.unsqueeze(1)
        cell = ((objects[..., :2] + objects[..., 2:]) / 2 / sides).floor()
        offset = ((centers_px / sides - 0.5).round() - cell).abs().max(axis=-1)
        taken = paddle.logical_and(is_level, offset <= self.reach)
        taken = paddle.logical_and(taken, truth.valid.unsqueeze(2))
        area = paddle.where(taken, size.prod(axis=-1), paddle.full([1], float("inf")))
        owner = area.argmin(axis=1)
        return paddle.where(taken.any(axis=1), owner, paddle.full_like(owner, -1))
