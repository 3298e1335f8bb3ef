"""The detector of YOLOv3, PP-YOLO and PP-YOLOv2."""

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
from ppdet_lite.modeling.post_process.box_decoders import BBoxPostProcess


@register
class YOLOv3(Detector):
    """One-stage detector with anchors; parts that are None are built with defaults.

    The maps of the neck come coarsest first, and the `levels` of the head are `AnchorLevel`.
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
        self.neck = neck or PPYOLOPAN()
        self.yolo_head = yolo_head or YOLOv3Head()
        has_anchors = all(isinstance(level, AnchorLevel) for level in self.head.levels)
        name, needed = type(self.head).__name__, "a head with anchors, for instance YOLOv3Head"
        check_arguments(("yolo_head", name, has_anchors, needed))
        self.post_process = post_process or BBoxPostProcess(self.head.num_classes)
        self.post_process.decode.check_levels(self.head.levels)

    @property
    def head(self) -> YOLOv3Head:
        """The head; weight files call it `yolo_head`."""
        return self.yolo_head

    @classmethod
    def from_config(cls, section: Section) -> dict:
        parts = build_parts(section, backbone="ResNet", neck="PPYOLOPAN", yolo_head="YOLOv3Head")
        post_process = create(section.get("post_process") or "BBoxPostProcess", section.config)
        return {**parts, "post_process": post_process}
