"""Detections of networks that need no NMS."""

import paddle
from paddle import Tensor

from ppdet_lite.core.annotations import Count, Probability
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.post_process.nms_layers import NMSLayer
from ppdet_lite.ops import nms as nms_ops


@register
class TopScores(NMSLayer):
    """The best `keep_top_k` boxes of an image by their best class, sorted by score. No box
    suppresses another; of the classes of a box only the one with the highest score counts.

    Args:
        score_threshold: least score.
        keep_top_k: detections per image.
    """

    def __init__(self, score_threshold: Probability = 0.01, keep_top_k: Count = 100):
        super().__init__(locals())

    def forward(self, boxes_xyxy_px: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, M, 4] and [B, C, M] to bbox [N, 6], bbox_num [B], index [N, 1]; see `ops.nms`."""
        boxes_xyxy_px, scores = nms_ops.drop_non_finite(boxes_xyxy_px, scores)
        best, label = scores.max(axis=1), scores.argmax(axis=1)
        count = paddle.shape(best)[1:].astype("int64").clip(max=self.arguments["keep_top_k"])
        kept, place = best.topk(count, axis=1)  # [B, K]
        first = (paddle.ones_like(kept).cumsum(axis=0) - 1).astype("int64")
        place = (first * paddle.shape(best)[1].astype("int64") + place).reshape([-1])
        rows = [
            label.reshape([-1]).index_select(place).astype("float32").unsqueeze(1),
            kept.reshape([-1, 1]),
            boxes_xyxy_px.reshape([-1, 4]).index_select(place),
        ]
        is_kept = kept >= self.arguments["score_threshold"]
        # Not every kernel takes no numbers: one more is always there, and cut off at the end.
        chosen = paddle.concat([is_kept.reshape([-1]).astype("int32"), paddle.ones([1], "int32")])
        chosen = paddle.nonzero(chosen).reshape([-1])[:-1]
        bbox = paddle.concat(rows, axis=1).index_select(chosen)
        index = place.astype("int32").unsqueeze(1).index_select(chosen)
        return bbox, is_kept.astype("int32").sum(axis=1, dtype="int32"), index
