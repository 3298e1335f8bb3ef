"""The head of YOLOX as its authors wrote it (Megvii-BaseDetection/YOLOX)."""

import paddle
from paddle import ParamAttr, nn
from paddle.nn.initializer import Assign, Uniform
from paddle.regularizer import L2Decay

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.heads.yolox_head import PRIOR_LOGIT, YOLOXHead
from ppdet_lite.modeling.losses.upstream_yolox_loss import UpstreamYOLOXLoss
from ppdet_lite.modeling.post_process.best_class_nms import BestClassNMS
from ppdet_lite.modeling.post_process.nms_layers import NMSLayer
from ppdet_lite.modeling.post_process.product_cell_box import ProductCellBox


@register
class UpstreamYOLOXHead(YOLOXHead):
    """`YOLOXHead` with the score objectness x class, the L1 term on raw outputs, and the start of
    YOLOX's authors: scores of 0.01, everything else uniform within 1 / sqrt(fan_in).

    Arguments are those of `YOLOXHead`; `assigner` None stands for `UpstreamSimOTA`, `nms` None for
    `BestClassNMS`.
    """

    loss_class = UpstreamYOLOXLoss
    decoder_class = ProductCellBox

    def default_nms(self) -> NMSLayer:
        return BestClassNMS()

    def output_layer(self, channels: int, sides: int, logits: int) -> nn.Conv2D:
        bound = channels**-0.5
        boxes = paddle.uniform([sides], min=-bound, max=bound).tolist() if sides else []
        start = ParamAttr(
            initializer=Assign(boxes + [PRIOR_LOGIT] * logits), regularizer=L2Decay(0.0)
        )
        weight = ParamAttr(initializer=Uniform(-bound, bound))
        return nn.Conv2D(channels, sides + logits, 1, weight_attr=weight, bias_attr=start)
