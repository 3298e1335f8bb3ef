"""YOLOX (arXiv:2107.08430): the anchor-free detector with a decoupled head."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import paddle
import paddle.nn.functional as F

from ppdet_lite.core.build import Section
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import check_arguments
from ppdet_lite.modeling.backbones.csp_darknet import CSPDarkNet
from ppdet_lite.modeling.batch_tensors import position
from ppdet_lite.modeling.build_detector import build_parts
from ppdet_lite.modeling.contracts import Backbone, Detector, Neck, PostProcess
from ppdet_lite.modeling.geometry.cell_grid import CellLevel
from ppdet_lite.modeling.heads.yolox_head import YOLOXHead
from ppdet_lite.modeling.layers.norm import set_norm_constants
from ppdet_lite.modeling.necks.yolo_csp_pan import YOLOCSPPAN
from ppdet_lite.modeling.post_process.box_decoders import CellBox

NORM_EPSILON, NORM_MOMENTUM = 1e-3, 0.97
"""Constants of all batch norms of the detector, whatever its backbone; set here because the same
CSPDarkNet keeps the defaults in other detectors (PaddleDetection's trainer does likewise).
"""

SIZE_PERIOD = 10
"""Iterations between two draws of the training size."""


@register
class YOLOX(Detector):
    """Anchor-free detector; parts that are None are built with defaults, maps come finest first.

    Training images are resized on the device: every `SIZE_PERIOD` iterations a size is drawn from
    `seed` and `iteration` of the batch, the same in all processes and after a resume. Batches
    without `iteration` keep their size.

    Args:
        head: its `levels` are `CellLevel`, and it has an `nms`.
        size_stride: training heights and widths are multiples of it.
        size_range: smallest and largest training height in units of `size_stride`; the width keeps
            the aspect ratio of the reader's images. None disables resizing.
    """

    __inject__ = ("backbone", "neck", "head")
    __unused__ = ("data_format", "for_mot", "input_size")

    inference_inputs = ("image", "scale_factor")
    export_arch = "YOLOX"
    min_subgraph_size = 8

    level_class: type = CellLevel
    needed_head = "an anchor-free head, for instance YOLOXHead"

    def __init__(
        self,
        backbone: Optional[Backbone] = None,
        neck: Optional[Neck] = None,
        head: Optional[YOLOXHead] = None,
        size_stride: int = 32,
        size_range: Optional[Sequence[int]] = (15, 25),
    ):
        super().__init__()
        self.backbone = backbone or CSPDarkNet()
        self.neck = neck or YOLOCSPPAN()
        self.head = head or YOLOXHead()
        fits = all(isinstance(level, self.level_class) for level in self.head.levels)
        check_arguments(("head", type(self.head).__name__, fits, self.needed_head))
        decoder_class = getattr(self.head, "decoder_class", CellBox)  # a user's own may lack it
        self.post_process = PostProcess(decoder_class(), self.head.nms)
        stride, sizes = self.largest_stride, None if size_range is None else list(size_range)
        fits = size_stride >= 1 and size_stride % stride == 0
        in_order = sizes is None or (len(sizes) == 2 and 1 <= sizes[0] <= sizes[1])
        check_arguments(
            ("size_stride", size_stride, fits, f"multiples of {stride}, the head's largest stride"),
            ("size_range", sizes, in_order, "[least, largest], both 1 or more, or null"),
        )
        self.size_stride, self.size_range = size_stride, sizes
        set_norm_constants(self, NORM_EPSILON, NORM_MOMENTUM)

    @classmethod
    def from_config(cls, section: Section) -> dict:
        return build_parts(section, backbone="CSPDarkNet", neck="YOLOCSPPAN", head="YOLOXHead")

    def remarks(self, epochs: int, mosaic_epoch: Optional[int]) -> list[str]:
        """Warns unless the L1 term starts in the epoch in which mosaics end.

        PaddleDetection has a key for each, and changing `epoch` changes neither.
        """
        is_own = not isinstance(self.head, YOLOXHead)
        if is_own or mosaic_epoch is None or mosaic_epoch < 0:
            return []
        l1_epoch = self.head.loss.l1_epoch
        mosaics_end = min(mosaic_epoch or epochs, epochs)  # 0: never
        if mosaics_end != min(l1_epoch, epochs):
            advice = "the L1 term should start when mosaics end; set both keys to the same epoch"
        elif mosaic_epoch >= epochs:
            advice = (
                "the training ends before mosaics end and the L1 term starts. YOLOX trains its "
                "last 15 epochs without mosaics and with the term; lower both keys for that"
            )
        else:
            return []
        return [
            f"TrainReader.mosaic_epoch is {mosaic_epoch}, {type(self.head).__name__}.l1_epoch is "
            f"{l1_epoch} and epoch is {epochs}: {advice}."
        ]

    def training_size(self, height: int, width: int, seed: int, iteration: int) -> tuple[int, int]:
        """Returns the training height and width of an iteration for images of the given size."""
        if self.size_range is None:
            return height, width
        least, largest = self.size_range
        rng = np.random.default_rng((seed, iteration // SIZE_PERIOD))
        units = int(rng.integers(least, largest + 1))
        across = max(1, round(units * width / height))
        return units * self.size_stride, across * self.size_stride

    def training_batch(self, batch: dict) -> dict:
        """Resizes images and boxes to the size of the iteration."""
        iteration = position(batch, "iteration")
        if iteration is None:
            return batch
        height, width = batch["image"].shape[-2:]
        size = self.training_size(height, width, position(batch, "seed") or 0, iteration)
        if size == (height, width):
            return batch
        image = F.interpolate(batch["image"], size, mode="bilinear", align_corners=False)
        factors = paddle.to_tensor([size[1] / width, size[0] / height] * 2, dtype="float32")

        def resized(boxes: Any) -> Any:
            return boxes * factors if 0 not in boxes.shape else boxes  # Paddle 2.6 refuses these

        boxes = batch["gt_bbox"]
        is_list = isinstance(boxes, (list, tuple))
        boxes = [resized(entry) for entry in boxes] if is_list else resized(boxes)
        return {**batch, "image": image, "gt_bbox": boxes}
