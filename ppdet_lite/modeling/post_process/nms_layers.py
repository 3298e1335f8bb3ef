"""Non-maximum suppression as layers that a configuration can name."""

from paddle import nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register, serializable
from ppdet_lite.ops import nms as nms_ops


def check_limits(arguments: dict) -> None:
    """Thresholds are scores or overlaps, counts are -1 (no limit) or at least 1: with any other
    value nothing would be found, and nobody would know why.
    """
    for key, value in arguments.items():
        if "thresh" in key and not 0 <= value <= 1:
            raise ConfigError(f"{key}: found {value}, allowed: 0 to 1")
        if key.endswith("top_k") and value < 1 and value != -1:
            raise ConfigError(f"{key}: found {value}, allowed: 1 or more, or -1 for no limit")


@register
@serializable
class MatrixNMS(nn.Layer):
    """Matrix NMS (arXiv:2003.10152); arguments as in `ops.nms.matrix_nms`.

    `nms_top_k: -1` means the limit stated by `ops.nms.effective_top_k`. `arguments` holds what was
    configured, by name.
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
        super().__init__()
        self.arguments = {
            "score_threshold": score_threshold,
            "post_threshold": post_threshold,
            "nms_top_k": nms_top_k,
            "keep_top_k": keep_top_k,
            "use_gaussian": use_gaussian,
            "gaussian_sigma": gaussian_sigma,
            "normalized": normalized,
            "background_label": background_label,
        }
        check_limits(self.arguments)

    def forward(self, boxes_xyxy_px, scores):
        """[B, M, 4] and [B, C, M] to bbox [N, 6], bbox_num [B], index [N, 1]; see `ops.nms`."""
        return nms_ops.matrix_nms(boxes_xyxy_px, scores, **self.arguments)


@register
@serializable
class MultiClassNMS(nn.Layer):
    """Greedy NMS per class; arguments as in `ops.nms.multiclass_nms`.

    `nms_top_k: -1` means the limit stated by `ops.nms.effective_top_k`. PaddleDetection's switches
    for return values, TensorRT and a forced CPU have no meaning here. `arguments` holds what was
    configured, by name.
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
        super().__init__()
        self.arguments = {
            "score_threshold": score_threshold,
            "nms_top_k": nms_top_k,
            "keep_top_k": keep_top_k,
            "nms_threshold": nms_threshold,
            "normalized": normalized,
            "nms_eta": nms_eta,
            "background_label": background_label,
        }
        check_limits(self.arguments)

    def forward(self, boxes_xyxy_px, scores):
        """[B, M, 4] and [B, C, M] to bbox [N, 6], bbox_num [B], index [N, 1]; see `ops.nms`."""
        return nms_ops.multiclass_nms(boxes_xyxy_px, scores, **self.arguments)
