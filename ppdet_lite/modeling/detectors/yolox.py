"""YOLOX (arXiv:2107.08430): the anchor-free detector with a decoupled head."""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, register
from ppdet_lite.modeling.backbones.csp_darknet import CSPDarkNet
from ppdet_lite.modeling.batch_inputs import as_tensors, check_input_size, position
from ppdet_lite.modeling.contracts import Backbone, Neck
from ppdet_lite.modeling.heads.yolox_head import YOLOXHead
from ppdet_lite.modeling.layers.norm import set_norm_constants
from ppdet_lite.modeling.necks.yolo_csp_pan import YOLOCSPPAN
from ppdet_lite.modeling.post_process import CellPostProcess

NORM_EPSILON = 1e-3
NORM_MOMENTUM = 0.97
"""Of all batch norms of the detector, whatever its backbone. They belong to YOLOX and not to its
parts: PaddleDetection's trainer sets them for this architecture, and the same CSPDarkNet under
another detector keeps the defaults.
"""

SIZE_PERIOD = 10
"""Iterations between two draws of the training size."""


@register
class YOLOX(nn.Layer):
    """Images to losses (training) or detections (evaluation).

    In training the images of the reader are resized on the device: every `SIZE_PERIOD`
    iterations a new size is drawn from (`seed`, `iteration`) of the batch, the same one in all
    processes and after a resume. A batch that does not say its iteration keeps its size.

    Args:
        backbone: image to feature maps, finest first; has `out_shape`.
        neck: those to maps for the head, finest first; has `out_shape`.
        head: maps to raw outputs and, with a batch, to losses; has `fpn_strides` and `nms`.
        size_stride: training heights and widths are multiples of it.
        size_range: least and largest training height, in `size_stride`; the width follows from the
            shape of the reader's images. None: the size of the reader.

    A part that is None is built with its defaults: CSPDarkNet, YOLOCSPPAN, YOLOXHead.
    PaddleDetection's `input_size` has no meaning here: the reader decides about the size before.

    Raises:
        ConfigError: parts or sizes that do not fit together.
    """

    __inject__ = ("backbone", "neck", "head")
    __unused__ = ("data_format", "for_mot", "input_size")

    inference_inputs = ("image", "scale_factor")
    """What an exported graph takes."""

    def __init__(
        self,
        backbone: Optional[Backbone] = None,
        neck: Optional[Neck] = None,
        head: Optional[YOLOXHead] = None,
        size_stride: int = 32,
        size_range: Optional[Sequence[int]] = (15, 25),
    ):
        super().__init__()
        self.backbone = CSPDarkNet() if backbone is None else backbone
        self.neck = YOLOCSPPAN() if neck is None else neck
        self.head = YOLOXHead() if head is None else head
        if not hasattr(self.head, "fpn_strides"):
            raise ConfigError(
                f"head: found {type(self.head).__name__}, needed: an anchor-free head, for "
                "instance YOLOXHead"
            )
        self.post_process = CellPostProcess(self.head.nms)
        self.size_stride = size_stride
        self.size_range = None if size_range is None else tuple(size_range)
        self._check_sizes()
        set_norm_constants(self, NORM_EPSILON, NORM_MOMENTUM)

    def _check_sizes(self) -> None:
        problems = []
        if self.size_stride < 1 or self.size_stride % self.largest_stride:
            problems.append(
                f"size_stride: found {self.size_stride}, allowed: multiples of "
                f"{self.largest_stride}, the largest stride of the head"
            )
        sizes = self.size_range
        if sizes is not None and (len(sizes) != 2 or not 1 <= sizes[0] <= sizes[1]):
            problems.append(
                f"size_range: found {list(sizes)}, allowed: [least, largest] with 1 <= least <= "
                "largest, or null"
            )
        if problems:
            raise ConfigError(problems)

    @property
    def largest_stride(self) -> int:
        """Height and width of the network input must be multiples of this."""
        return max(self.head.fpn_strides)

    @property
    def l1_epoch(self) -> int:
        """First epoch (from 0) with the L1 term: the one in which the reader's mosaics end."""
        return self.head.loss.l1_epoch

    @classmethod
    def from_config(cls, section):
        """Builds the parts in order; each learns the shapes of the one before."""
        cfg = section.config
        backbone = create(section.get("backbone") or "CSPDarkNet", cfg)
        neck = create(section.get("neck") or "YOLOCSPPAN", cfg, input_shape=backbone.out_shape)
        head = create(section.get("head") or "YOLOXHead", cfg, input_shape=neck.out_shape)
        return {"backbone": backbone, "neck": neck, "head": head}

    def forward(self, inputs):
        """A batch to what the mode asks for.

        Args:
            inputs: `image` [B, 3, H, W], values 0 to 255. In training also `gt_bbox` (corners in
                pixels of the image) and `gt_class`, as `pad_ground_truth` takes them, and what is
                known of `epoch_id` (for the L1 term), `iteration` and `seed` (for the size). In
                evaluation `scale_factor` [B, 2] (y, x). Tensors, or a reader's numpy batch.

        Returns:
            In training the loss terms and their weighted sum `loss`. In evaluation `bbox` [N, 6]
            (class, score, x1, y1, x2, y2 in pixels of the original images) and `bbox_num` [B].
        """
        if paddle.in_dynamic_mode():
            inputs = as_tensors(inputs)
        if self.training:
            inputs = self._resized(inputs)
            return self.head.get_loss(self.raw_outputs(inputs["image"]), inputs)
        outputs = self.raw_outputs(inputs["image"])
        bbox, bbox_num = self.post_process(outputs, self.head.fpn_strides, inputs["scale_factor"])
        return {"bbox": bbox, "bbox_num": bbox_num}

    def raw_outputs(self, image) -> list:
        """Images [B, 3, H, W] to the head's raw outputs per level, finest first."""
        if paddle.in_dynamic_mode():  # a graph may leave the size open
            check_input_size(image, self.largest_stride)
        return self.head(self.neck(self.backbone(image)))

    def decode(self, raw, im_shape, scale_factor) -> tuple:
        """Raw outputs to boxes [B, M, 4] in pixels of the original images and scores [B, C, M].

        `im_shape` is not needed: boxes are not cut at the borders of the images.
        """
        return self.post_process.decode(raw, self.head.fpn_strides, scale_factor)

    def training_size(self, height: int, width: int, seed: int, iteration: int) -> tuple:
        """(height, width) at which images of this size are trained in this iteration."""
        least, largest = self.size_range
        rng = np.random.default_rng((seed, iteration // SIZE_PERIOD))
        units = int(rng.integers(least, largest + 1))
        across = max(1, round(units * width / height))
        return units * self.size_stride, across * self.size_stride

    def _resized(self, inputs: dict) -> dict:
        """The batch at the size of its iteration, boxes included."""
        iteration = position(inputs, "iteration")
        if self.size_range is None or iteration is None:
            return inputs
        image = inputs["image"]
        before = image.shape[-2:]
        after = self.training_size(*before, position(inputs, "seed", 0), iteration)
        if tuple(before) == after:
            return inputs
        factors = [after[1] / before[1], after[0] / before[0]] * 2
        factors = paddle.to_tensor(factors, dtype="float32")
        boxes = inputs["gt_bbox"]
        if isinstance(boxes, (list, tuple)):
            boxes = [one * factors for one in boxes]
        else:
            boxes = boxes * factors
        image = F.interpolate(image, after, mode="bilinear", align_corners=False)
        return {**inputs, "image": image, "gt_bbox": boxes}
