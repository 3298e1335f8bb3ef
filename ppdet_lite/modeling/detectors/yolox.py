"""YOLOX (arXiv:2107.08430): the anchor-free detector with a decoupled head."""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import paddle
import paddle.nn.functional as F

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.backbones.csp_darknet import CSPDarkNet
from ppdet_lite.modeling.batch_tensors import position
from ppdet_lite.modeling.build_detector import build_parts
from ppdet_lite.modeling.contracts import Backbone, Detector, Neck, PostProcess
from ppdet_lite.modeling.geometry.cell_grid import CellLevel
from ppdet_lite.modeling.heads.yolox_head import YOLOXHead
from ppdet_lite.modeling.layers.norm import set_norm_constants
from ppdet_lite.modeling.necks.yolo_csp_pan import YOLOCSPPAN
from ppdet_lite.modeling.post_process.box_decoders import CellBox

NORM_EPSILON = 1e-3
NORM_MOMENTUM = 0.97
"""Of all batch norms of the detector, whatever its backbone. They belong to YOLOX and not to its
parts: PaddleDetection's trainer sets them for this architecture, and the same CSPDarkNet under
another detector keeps the defaults.
"""

SIZE_PERIOD = 10
"""Iterations between two draws of the training size."""


@register
class YOLOX(Detector):
    """Images to losses (training) or detections (evaluation).

    In training the images of the reader are resized on the device: every `SIZE_PERIOD`
    iterations a new size is drawn from (`seed`, `iteration`) of the batch, the same one in all
    processes and after a resume. A batch that does not say its iteration keeps its size.

    Args:
        backbone: image to feature maps, finest first; has `out_shape`.
        neck: those to maps for the head, finest first; has `out_shape`.
        head: maps to raw outputs and, with a batch, to losses; has `nms`.
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
    export_arch = "YOLOX"
    min_subgraph_size = 8

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
        if not all(isinstance(level, CellLevel) for level in self.head.levels):
            raise ConfigError(
                f"head: found {type(self.head).__name__}, needed: an anchor-free head, for "
                "instance YOLOXHead"
            )
        self.post_process = PostProcess(CellBox(), self.head.nms)
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

    @classmethod
    def from_config(cls, section):
        """Builds the parts in order; each learns the shapes of the one before."""
        return build_parts(section, backbone="CSPDarkNet", neck="YOLOCSPPAN", head="YOLOXHead")

    def remarks(self, epochs: int, mosaic_epoch: Optional[int]) -> list[str]:
        """The L1 term is meant to begin in the epoch in which mosaics end: PaddleDetection's keys
        state the same moment twice, and `epoch` moves neither.
        """
        is_own = not isinstance(self.head, YOLOXHead)
        if is_own or mosaic_epoch is None or mosaic_epoch < 0:
            return []
        l1_epoch = self.head.loss.l1_epoch
        keys = (
            f"TrainReader.mosaic_epoch is {mosaic_epoch}, YOLOXHead.l1_epoch is {l1_epoch} and "
            f"epoch is {epochs}"
        )
        mosaics_end = min(mosaic_epoch or epochs, epochs)  # 0: never
        if mosaics_end != min(l1_epoch, epochs):
            return [
                f"{keys}: the L1 term is meant to begin where mosaics end. Give both keys the same "
                "epoch."
            ]
        if mosaic_epoch >= epochs:
            return [
                f"{keys}: the training ends before mosaics do, and before the L1 term begins. "
                "YOLOX trains its last 15 epochs without mosaics and with the term; lower both "
                "keys for that."
            ]
        return []

    def training_size(self, height: int, width: int, seed: int, iteration: int) -> tuple:
        """(height, width) at which images of this size are trained in this iteration."""
        least, largest = self.size_range
        rng = np.random.default_rng((seed, iteration // SIZE_PERIOD))
        units = int(rng.integers(least, largest + 1))
        across = max(1, round(units * width / height))
        return units * self.size_stride, across * self.size_stride

    def training_batch(self, batch: dict) -> dict:
        """The batch at the size of its iteration, boxes included."""
        iteration = position(batch, "iteration")
        if self.size_range is None or iteration is None:
            return batch
        image = batch["image"]
        before = image.shape[-2:]
        after = self.training_size(*before, position(batch, "seed", 0), iteration)
        if tuple(before) == after:
            return batch
        factors = [after[1] / before[1], after[0] / before[0]] * 2
        factors = paddle.to_tensor(factors, dtype="float32")
        boxes = batch["gt_bbox"]
        if isinstance(boxes, (list, tuple)):
            boxes = [one * factors for one in boxes]
        else:
            boxes = boxes * factors
        image = F.interpolate(image, after, mode="bilinear", align_corners=False)
        return {**batch, "image": image, "gt_bbox": boxes}
