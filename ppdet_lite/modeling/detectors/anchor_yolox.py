"""The detector of the steps of YOLOX's roadmap that have anchors."""

from collections.abc import Sequence
from typing import Any, Optional

from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.backbones.darknet import DarkNet
from ppdet_lite.modeling.build_detector import build_parts
from ppdet_lite.modeling.contracts import Backbone, Neck
from ppdet_lite.modeling.detectors.yolox import YOLOX
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.heads.anchor_yolox_heads import AnchorYOLOXHead, DecoupledAnchorHead
from ppdet_lite.modeling.necks.yolox_fpn import YOLOXFPN


@register
class AnchorYOLOX(YOLOX):
    """`YOLOX` with a head that has anchors; arguments are the same. Parts that are None are those
    of YOLOX-DarkNet53 and `DecoupledAnchorHead`.
    """

    level_class = AnchorLevel
    needed_head = "a head with anchors, for instance DecoupledAnchorHead"

    def __init__(
        self,
        backbone: Optional[Backbone] = None,
        neck: Optional[Neck] = None,
        head: Optional[AnchorYOLOXHead] = None,
        size_stride: int = 32,
        size_range: Optional[Sequence[int]] = (15, 25),
    ):
        own: Any = head or DecoupledAnchorHead()
        super().__init__(backbone or DarkNet(), neck or YOLOXFPN(), own, size_stride, size_range)

    @classmethod
    def from_config(cls, section: Section) -> dict:
        return build_parts(section, backbone="DarkNet", neck="YOLOXFPN", head="DecoupledAnchorHead")
