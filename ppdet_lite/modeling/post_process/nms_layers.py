"""Non-maximum suppression as layers that a configuration can name."""

from typing import Any

from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Check, check_arguments
from ppdet_lite.ops import nms as nms_ops


def limit_checks(arguments: dict[str, Any]) -> list[Check]:
    """Thresholds are scores or overlaps, counts are -1 (no limit) or at least 1: with any other
    value nothing would be found, and nobody would know why.
    """
    checks: list[Check] = []
    for name, value in arguments.items():
        if "thresh" in name:
            checks.append((name, value, 0 <= value <= 1, "0 to 1"))
        if name.endswith("top_k"):
            checks.append((name, value, value >= 1 or value == -1, "1 or more, or -1 for no limit"))
    return checks


class NMSLayer(nn.Layer):
    """Boxes and scores to detections.

    Attributes:
        arguments: what was configured, by name.

    Raises:
        ConfigError: a threshold or a limit out of range.
    """

    def __init__(self, **arguments: Any):
        super().__init__()
        self.arguments = arguments
        check_arguments(*limit_checks(self.arguments))


@register
class MatrixNMS(NMSLayer):
    """Matrix NMS (arXiv:2003.10152); arguments as in `ops.nms.matrix_nms`.

    `nms_top_k: -1` means the limit stated by `ops.nms.effective_top_k`.
    """

    def __init__(
        self,
        score_threshold: float = 0.05,
        post_threshold: float = 0.05,
        nms_top_k: int = -1,
        keep_top_k: int = 100,
        use_gaussian: bool = False,
        gaussian_sigma: float = 2.0,
        normalized: bool = False,
        background_label: int = -1,
    ):
        super().__init__(
            score_threshold=score_threshold,
            post_threshold=post_threshold,
            nms_top_k=nms_top_k,
            keep_top_k=keep_top_k,
            use_gaussian=use_gaussian,
            gaussian_sigma=gaussian_sigma,
            normalized=normalized,
            background_label=background_label,
        )

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
        score_threshold: float = 0.05,
        nms_top_k: int = -1,
        keep_top_k: int = 100,
        nms_threshold: float = 0.5,
        normalized: bool = True,
        nms_eta: float = 1.0,
        background_label: int = -1,
    ):
        super().__init__(
            score_threshold=score_threshold,
            nms_top_k=nms_top_k,
            keep_top_k=keep_top_k,
            nms_threshold=nms_threshold,
            normalized=normalized,
            nms_eta=nms_eta,
            background_label=background_label,
        )

    def forward(self, boxes_xyxy_px: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, M, 4] and [B, C, M] to bbox [N, 6], bbox_num [B], index [N, 1]; see `ops.nms`."""
        return nms_ops.multiclass_nms(boxes_xyxy_px, scores, **self.arguments)
