"""The one-stage detector of the YOLOv3 family: backbone, neck, head, post-processing."""

from typing import Optional

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, register
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
        backbone: image to feature maps, finest first; has `out_shape`.
        neck: those to maps for the head, coarsest first; has `out_shape`.
        yolo_head: maps to raw outputs and, with a batch, to losses; has `levels`.
        post_process: raw outputs to detections.

    A part that is None is built with its defaults: ResNet 50-vd, PPYOLOPAN, YOLOv3Head,
    BBoxPostProcess.

    Raises:
        ConfigError: parts that do not fit together.
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
        if not all(isinstance(level, AnchorLevel) for level in self.yolo_head.levels):
            raise ConfigError(
                f"yolo_head: found {type(self.yolo_head).__name__}, needed: a head with anchors, "
                "for instance YOLOv3Head"
            )
        if post_process is None:
            post_process = BBoxPostProcess(self.yolo_head.num_classes)
        self.post_process = post_process
        self.post_process.decode.check_levels(self.yolo_head.levels)

    @property
    def head(self) -> YOLOv3Head:
        """`yolo_head`, whose name stands in weight files."""
        return self.yolo_head

    @classmethod
    def from_config(cls, section):
        """Builds the parts in order; each learns the shapes of the one before."""
        parts = build_parts(section, backbone="ResNet", neck="PPYOLOPAN", yolo_head="YOLOv3Head")
        post_process = create(section.get("post_process") or "BBoxPostProcess", section.config)
        return {**parts, "post_process": post_process}
