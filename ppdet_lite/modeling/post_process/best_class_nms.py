"""The post-processing of YOLOX's authors: one class per box, then NMS."""

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppdet_lite.core.annotations import Probability
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Limit
from ppdet_lite.modeling.post_process.nms_layers import NMSLayer
from ppdet_lite.ops import nms as nms_ops

EVERY = (1 << 31) - 1
"""Candidates per class: no limit."""


@register
class BestClassNMS(NMSLayer):
    """Greedy NMS on the best class of each box, detections sorted by score.

    Of the classes of a box only the one with the highest score counts (the first of equal ones),
    if that is `score_threshold` or more. A box goes when its IoU with a kept one of its class
    exceeds `nms_threshold`.

    Args:
        score_threshold: least score; 0.01 in the authors' evaluation, 0.25 in their demo.
        nms_threshold: largest IoU; 0.65 in the authors' evaluation, 0.45 in their demo.
        class_agnostic: boxes suppress those of other classes too.
        keep_top_k: detections per image; -1 keeps all, as the authors do.
    """

    def __init__(
        self,
        score_threshold: Probability = 0.01,
        nms_threshold: Probability = 0.65,
        class_agnostic: bool = False,
        keep_top_k: Limit = -1,
    ):
        super().__init__(locals())

    def forward(self, boxes_xyxy_px: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, M, 4] and [B, C, M] to bbox [N, 6], bbox_num [B], index [N, 1]; see `ops.nms`."""
        boxes_xyxy_px, scores = nms_ops.drop_non_finite(boxes_xyxy_px, scores)
        best, label = scores.max(axis=1), scores.argmax(axis=1)
        best = best * (best >= self.arguments["score_threshold"]).astype(best.dtype)
        if self.arguments["class_agnostic"]:
            spread = best.unsqueeze(1)
        else:
            one_hot = F.one_hot(label, scores.shape[1]).transpose([0, 2, 1])
            spread = one_hot * best.unsqueeze(1)
        found, counts, index = nms_ops.multiclass_nms(
            boxes_xyxy_px,
            spread,
            score_threshold=0.0,
            nms_threshold=self.arguments["nms_threshold"],
            nms_top_k=EVERY,
            keep_top_k=self.arguments["keep_top_k"],
        )
        # Not every kernel takes no rows: one is always there, and cut off at the end.
        found = paddle.concat([found, paddle.zeros([1, 6], dtype=found.dtype)])
        index = paddle.concat([index, paddle.zeros([1, 1], dtype=index.dtype)])
        if self.arguments["class_agnostic"]:
            labels = paddle.gather(label.reshape([-1]), index.reshape([-1]))
            found = paddle.concat([labels.astype(found.dtype).unsqueeze(1), found[:, 1:]], axis=1)
        order = _order(found[:, 1], counts)[:-1]
        return found.index_select(order), counts, index.index_select(order)


def _order(scores: Tensor, counts: Tensor) -> Tensor:
    """The indices of rows that come by image, then class, by image, then falling scores [N + 1];
    the last is that of a row behind all images, whose score is 0."""
    # From the counts, as a graph may not know the number of boxes of an image.
    row = paddle.ones_like(scores).cumsum() - 1
    ends = counts.astype("float32").cumsum()
    image = (row.unsqueeze(1) >= ends.unsqueeze(0)).astype("float64").sum(axis=1)
    # Scores are at most 1. float32 has no room for small ones behind the number of an image.
    return (image * 2 - scores.astype("float64")).argsort()
