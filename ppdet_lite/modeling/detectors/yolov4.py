"""The detector of YOLOv4 (arXiv:2004.10934), YOLOv4-tiny and scaled YOLOv4-CSP."""

from collections.abc import Sequence
from typing import Optional

from paddle import Tensor

from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import create, register
from ppdet_lite.modeling.backbones.csp_darknet53 import CSPDarknet53
from ppdet_lite.modeling.build_detector import build_parts
from ppdet_lite.modeling.contracts import Backbone, Neck
from ppdet_lite.modeling.detectors.yolov3 import YOLOv3
from ppdet_lite.modeling.heads.yolov3_head import YOLOv3Head
from ppdet_lite.modeling.heads.yolov4_head import YOLOv4Head
from ppdet_lite.modeling.layers.norm import set_norm_constants
from ppdet_lite.modeling.losses.no_object_loss import no_object_loss
from ppdet_lite.modeling.necks.yolov4_pan import YOLOv4PAN
from ppdet_lite.modeling.post_process.box_decoders import BBoxPostProcess

NORM_EPSILON, NORM_MOMENTUM = 1e-5, 0.99
"""Constants of all batch norms, those of darknet on a GPU."""


@register
class YOLOv4(YOLOv3):
    """`YOLOv3` with the parts of YOLOv4 as defaults and the batch norms of darknet.

    The maps of the neck come in any order, which is that of the head's levels.
    """

    def __init__(
        self,
        backbone: Optional[Backbone] = None,
        neck: Optional[Neck] = None,
        yolo_head: Optional[YOLOv3Head] = None,
        post_process: Optional[BBoxPostProcess] = None,
    ):
        super().__init__(
            backbone or CSPDarknet53(),
            neck or YOLOv4PAN(),
            yolo_head or YOLOv4Head(),
            post_process,
        )
        set_norm_constants(self, NORM_EPSILON, NORM_MOMENTUM)

    def attack_loss(self, outputs: Sequence[Tensor]) -> Tensor:
        return no_object_loss(outputs, self.head.levels, self.head.num_classes)

    @classmethod
    def from_config(cls, section: Section) -> dict:
        defaults = {"backbone": "CSPDarknet53", "neck": "YOLOv4PAN", "yolo_head": "YOLOv4Head"}
        parts = build_parts(section, **defaults)
        post_process = create(section.get("post_process") or "BBoxPostProcess", section.config)
        return {**parts, "post_process": post_process}
