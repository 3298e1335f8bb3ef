"""The one-stage detector of the YOLOv3 family: backbone, neck, head, post-processing."""

from typing import Optional

import paddle
from paddle import nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, register
from ppdet_lite.modeling.backbones.resnet import ResNet
from ppdet_lite.modeling.batch_inputs import as_tensors, check_input_size
from ppdet_lite.modeling.contracts import Backbone, Neck
from ppdet_lite.modeling.heads.yolov3_head import YOLOv3Head
from ppdet_lite.modeling.necks.ppyolo_pan import PPYOLOPAN
from ppdet_lite.modeling.post_process import BBoxPostProcess


@register
class YOLOv3(nn.Layer):
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

    inference_inputs = ("image", "im_shape", "scale_factor")
    """What an exported graph takes."""

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
        if not hasattr(self.yolo_head, "levels"):
            raise ConfigError(
                f"yolo_head: found {type(self.yolo_head).__name__}, needed: a head with anchors, "
                "for instance YOLOv3Head"
            )
        if post_process is None:
            post_process = BBoxPostProcess(self.yolo_head.num_classes)
        self.post_process = post_process
        self.post_process.decode.check_levels(self.yolo_head.levels)

    @property
    def largest_stride(self) -> int:
        """Height and width of the network input must be multiples of this."""
        return max(level.stride for level in self.yolo_head.levels)

    @classmethod
    def from_config(cls, section):
        """Builds the parts in order; each learns the shapes of the one before."""
        cfg = section.config
        backbone = create(section.get("backbone") or "ResNet", cfg)
        neck = create(section.get("neck") or "PPYOLOPAN", cfg, input_shape=backbone.out_shape)
        head = create(section.get("yolo_head") or "YOLOv3Head", cfg, input_shape=neck.out_shape)
        post_process = create(section.get("post_process") or "BBoxPostProcess", cfg)
        return {
            "backbone": backbone,
            "neck": neck,
            "yolo_head": head,
            "post_process": post_process,
        }

    def forward(self, inputs):
        """A batch to what the mode asks for.

        Args:
            inputs: `image` [B, 3, H, W]; in training also what the loss needs (`YOLOv3Loss`), else
                `im_shape` and `scale_factor` [B, 2] (y, x). Tensors, or a reader's numpy batch.

        Returns:
            In training the loss terms and their sum `loss`. In evaluation `bbox` [N, 6] (class,
            score, x1, y1, x2, y2 in pixels of the original images) and `bbox_num` [B].
        """
        if paddle.in_dynamic_mode():
            inputs = as_tensors(inputs)
        outputs = self.raw_outputs(inputs["image"])
        if self.training:
            return self.yolo_head.get_loss(outputs, inputs)
        bbox, bbox_num = self.post_process(
            outputs,
            self.yolo_head.levels,
            inputs["im_shape"],
            inputs["scale_factor"],
            self._iou_aware_factor(),
        )
        return {"bbox": bbox, "bbox_num": bbox_num}

    def raw_outputs(self, image) -> list:
        """Images [B, 3, H, W] to the head's raw outputs per level, coarsest first."""
        if paddle.in_dynamic_mode():  # a graph may leave the size open
            check_input_size(image, self.largest_stride)
        return self.yolo_head(self.neck(self.backbone(image)))

    def decode(self, raw, im_shape, scale_factor) -> tuple:
        """Raw outputs to boxes [B, M, 4] in pixels of the original images and scores [B, C, M]."""
        return self.post_process.decode(
            raw, self.yolo_head.levels, im_shape, scale_factor, self._iou_aware_factor()
        )

    def _iou_aware_factor(self):
        return self.yolo_head.iou_aware_factor if self.yolo_head.iou_aware else None
