"""DIoU-NMS as a layer that a configuration can name."""

from paddle import Tensor

from ppdet_lite.core.annotations import Positive, Probability
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Limit
from ppdet_lite.modeling.post_process.nms_layers import NMSLayer
from ppdet_lite.ops.diou_nms import diou_nms


@register
class DIoUNMS(NMSLayer):
    """Greedy NMS per class on IoU - (d^2 / c^2)^beta; arguments as in `ops.diou_nms.diou_nms`.

    d is the distance of two centers, c the diagonal of the smallest box around both. beta 0.6 is
    darknet's "greedynms", the NMS of its YOLOv4 files; beta 1 is the paper's DIoU-NMS
    (arXiv:1911.08287). Darknet takes both lengths as shares of the image, here they are pixels,
    which is another ratio for images that are not square.
    """

    def __init__(
        self,
        score_threshold: Probability = 0.001,
        nms_threshold: Probability = 0.6,
        beta: Positive = 0.6,
        nms_top_k: Limit = -1,
        keep_top_k: Limit = 100,
        background_label: int = -1,
    ):
        super().__init__(locals())

    def forward(self, boxes_xyxy_px: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, M, 4] and [B, C, M] to bbox [N, 6], bbox_num [B], index [N, 1]; see `ops.nms`."""
        return diou_nms(boxes_xyxy_px, scores, **self.arguments)
