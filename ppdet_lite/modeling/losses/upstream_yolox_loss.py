"""The loss of YOLOX as its authors wrote it."""

from typing import Optional

import paddle
from paddle import Tensor

from ppdet_lite.modeling.assigners.cell_assigner import CellAssigner
from ppdet_lite.modeling.assigners.upstream_sim_ota import UpstreamSimOTA
from ppdet_lite.modeling.losses.yolox_loss import YOLOXLoss

LEAST_SIZE = 1e-8
"""Added to a size in cells before its logarithm."""


class UpstreamYOLOXLoss(YOLOXLoss):
    """`YOLOXLoss` whose L1 term compares raw outputs with those that would give the object's box:
    its center less the cell, and the logarithm of its size, both in units of the stride.

    Args:
        assigner: None for `UpstreamSimOTA`.
        loss_weight, l1_epoch: see `YOLOXLoss`.
    """

    def __init__(
        self,
        assigner: Optional[CellAssigner] = None,
        loss_weight: Optional[dict[str, float]] = None,
        l1_epoch: int = 285,
    ):
        super().__init__(assigner or UpstreamSimOTA(), loss_weight, l1_epoch)

    def l1_distance(
        self, regression: Tensor, boxes: Tensor, target: Tensor, cells: Tensor, sides: Tensor
    ) -> Tensor:
        target = (target / sides.unsqueeze(1)).transpose([0, 2, 1])  # [B, 4, A], in cells
        low, high = target[:, :2], target[:, 2:]
        wanted = paddle.concat(
            [(low + high) / 2 - cells, paddle.log((high - low) + LEAST_SIZE)], axis=1
        )
        return (regression - wanted).abs().sum(axis=1)
