"""The detector of the steps of YOLOX's roadmap that have anchors."""

from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.build_detector import build_parts
from ppdet_lite.modeling.detectors.yolox import YOLOX
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel


@register
class AnchorYOLOX(YOLOX):
    """`YOLOX` with a head that has anchors (`CoupledAnchorHead`, `DecoupledAnchorHead`)."""

    level_class = AnchorLevel
    needed_head = "a head with anchors, for instance DecoupledAnchorHead"

    @classmethod
    def from_config(cls, section: Section) -> dict:
        return build_parts(section, backbone="DarkNet", neck="YOLOXFPN", head="DecoupledAnchorHead")
