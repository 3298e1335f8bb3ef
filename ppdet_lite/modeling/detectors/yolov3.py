"""The one-stage detector of the YOLOv3 family: backbone, neck, head, post-processing."""

from typing import Optional

from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import create, register
from ppdet_lite.modeling.arguments import check_arguments
from ppdet_lite.modeling.backbones.resnet import ResNet
from ppdet_lite.modeling.build_detector import build_parts
from ppdet_lite.modeling.contracts import Backbone, Detector, Neck
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.heads.yolov3_head import YOLOv3Head
from ppdet_lite.modeling.necks.ppyolo_pan import PPYOLOPAN
from ppdet_lite.modeling.post_process.bbox_post_process import BBoxPostProcess


@register
class YOLOv3(Detector):
    """Images to losses (training) or detections (evaluation).

    Args:
        backbone, neck, yolo_head, post_process: the neck's maps come coarsest first, the head's
            `levels` are `AnchorLevel`. A part that is None is built with its defaults.
    """

    __inject__ = ("backbone", "neck", "yolo_head", "post_process")
    __unused__ = ("data_format", "for_mot")

    def __init__(
        self,
        backbone: Optional[Backbone] = None,
        neck: Optional[Neck] = None,
        yolo_head: Optional[YOLOv3Head] = None,
        post_process: Optional[BBoxPostProcess] = None,
    ):
        super().__init__()
        if backbone is None:
            backbone = ResNet(variant="d", return_idx=(1, 2, 3), freeze_norm=False, freeze_at=-1)
        self.backbone = backbone
        self.neck = PPYOLOPAN() if neck is None else neck
        self.yolo_head = YOLOv3Head() if yolo_head is None else yolo_head
        has_anchors = all(isinstance(level, AnchorLevel) for level in self.head.levels)
        name, needed = type(self.head).__name__, "a head with anchors, for instance YOLOv3Head"
        check_arguments(("yolo_head", name, has_anchors, needed))
        if post_process is None:
            post_process = BBoxPostProcess(self.head.num_classes)
        self.post_process = post_process
        self.post_process.decode.check_levels(self.head.levels)

    @property
    def head(self) -> YOLOv3Head:
        """`yolo_head`, whose name stands in weight files."""
        return self.yolo_head

    @classmethod
    def from_config(cls, section: Section) -> dict:
        parts = build_parts(section, backbone="ResNet", neck="PPYOLOPAN", yolo_head="YOLOv3Head")
        post_process = create(section.get("post_process") or "BBoxPostProcess", section.config)
        return {**parts, "post_process": post_process}
