"""SimOTA by the rules of YOLOX's authors (Megvii-BaseDetection/YOLOX)."""

from typing import Literal, Optional

import paddle
from paddle import Tensor

from ppdet_lite.core.annotations import Count, Positive
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.assigners.sim_ota import SimOTAAssigner

RELEASED, LATER = "box_or_center", "center"
_RADIUS = {RELEASED: 2.5, LATER: 1.5}
_OUTSIDE = {RELEASED: 1e5, LATER: 1e6}


@register
class UpstreamSimOTA(SimOTAAssigner):
    """`SimOTAAssigner` with the costs of YOLOX's authors and either of their two candidate rules.

    * `box_or_center`, versions 0.1.0 to 0.3.0, which all published weights were trained with: a
      cell takes part when its center lies inside an object or in the square at the center of one;
      pairs outside of either cost 1e5 more.
    * `center`, since January 2023: it takes part in the square only, the box does not matter; pairs
      outside of the square cost 1e6 more. Tiny objects thus always have candidates.

    Args:
        candidates: the rule.
        center_radius: half the side of the square, in cells of the level; None: 2.5 with
            `box_or_center`, 1.5 with `center`.
        candidate_topk, iou_weight, cls_weight: see `SimOTAAssigner`.
    """

    least_iou = 1e-8

    def __init__(
        self,
        candidates: Literal["box_or_center", "center"] = "box_or_center",
        center_radius: Optional[Positive] = None,
        candidate_topk: Count = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
    ):
        radius = _RADIUS[candidates] if center_radius is None else center_radius
        super().__init__(radius, candidate_topk, iou_weight, cls_weight)
        self.rule, self.outside = candidates, _OUTSIDE[candidates]

    def candidates(self, inside: Tensor, central: Tensor) -> tuple[Tensor, Tensor]:
        if self.rule == LATER:
            return central, central
        return paddle.logical_or(inside, central), paddle.logical_and(inside, central)
