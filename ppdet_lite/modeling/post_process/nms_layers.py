"""Non-maximum suppression as layers that a configuration can name."""

from typing import Any

from paddle import Tensor, nn

from ppdet_lite.core.annotations import Positive, Probability
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Limit
from ppdet_lite.ops import nms as nms_ops


class NMSLayer(nn.Layer):
    """Boxes and scores to detections; `given` are the `locals()` of a constructor.

    Attributes:
        arguments: what was configured, by name.
    """

    __checked__ = True

    def __init__(self, given: dict[str, Any]):
        super().__init__()
        self.arguments = {k: v for k, v in given.items() if k not in ("self", "__class__")}


@register
class MatrixNMS(NMSLayer):
    """Matrix NMS (arXiv:2003.10152); arguments as in `ops.nms.matrix_nms`.

    `nms_top_k: -1` means the limit stated by `ops.nms.effective_top_k`.
    """

    def __init__(
        self,
        score_threshold: Probability = 0.05,
        post_threshold: Probability = 0.05,
        nms_top_k: Limit = -1,
        keep_top_k: Limit = 100,
        use_gaussian: bool = False,
        gaussian_sigma: Positive = 2.0,
        normalized: bool = False,
        background_label: int = -1,
    ):
        super().__init__(locals())

    def forward(self, boxes_xyxy_px: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, M, 4] and [B, C, M] to bbox [N, 6], bbox_num [B], index [N, 1]; see `ops.nms`."""
        return nms_ops.matrix_nms(boxes_xyxy_px, scores, **self.arguments)


@register
class MultiClassNMS(NMSLayer):
    """Greedy NMS per class; arguments as in `ops.nms.multiclass_nms`.

    `nms_top_k: -1` means the limit stated by `ops.nms.effective_top_k`. PaddleDetection's switches
    for return values, TensorRT and a forced CPU have no meaning here.
    """

    __unused__ = ("return_index", "return_rois_num", "trt", "cpu")

    def __init__(
        self,
        score_threshold: Probability = 0.05,
        nms_top_k: Limit = -1,
        keep_top_k: Limit = 100,
        nms_threshold: Probability = 0.5,
        normalized: bool = True,
        nms_eta: Positive = 1.0,
        background_label: int = -1,
    ):
        super().__init__(locals())

    def forward(self, boxes_xyxy_px: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, M, 4] and [B, C, M] to bbox [N, 6], bbox_num [B], index [N, 1]; see `ops.nms`."""
        return nms_ops.multiclass_nms(boxes_xyxy_px, scores, **self.arguments)
