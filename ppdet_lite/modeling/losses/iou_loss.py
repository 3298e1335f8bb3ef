"""Losses on the IoU of predicted and true boxes, and on the predicted IoU."""

from typing import Callable

import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.losses.cross_entropy import binary_cross_entropy
from ppdet_lite.ops import boxes as box_ops


def _overlap_function(giou: bool, diou: bool, ciou: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the chosen variant of IoU, plain IoU if none is true."""
    names = [name for name, on in (("giou", giou), ("diou", diou), ("ciou", ciou)) if on]
    if len(names) > 1:
        raise ConfigError(f"found {' and '.join(names)} true, allowed: at most one of them")
    return getattr(box_ops, names[0] if names else "iou")


@register
class IouLoss(nn.Layer):
    """loss_weight * (1 - IoU^2), without `loss_square` loss_weight * (1 - IoU).

    At most one of `giou`, `diou` and `ciou` replaces the plain IoU. These are negative for boxes
    far apart; the square keeps the sign, so that the loss decreases as the boxes approach.
    """

    __checked__ = True

    def __init__(
        self,
        loss_weight: float = 2.5,
        giou: bool = False,
        diou: bool = False,
        ciou: bool = False,
        loss_square: bool = True,
    ):
        super().__init__()
        self.loss_weight, self.loss_square = loss_weight, loss_square
        self._overlap = _overlap_function(giou, diou, ciou)

    def forward(self, predicted_xyxy: Tensor, target_xyxy: Tensor) -> Tensor:
        """Boxes [..., 4] and [..., 4] to losses [...]."""
        overlap = self._overlap(predicted_xyxy, target_xyxy)
        if self.loss_square:
            overlap = overlap * overlap.abs()
        return self.loss_weight * (1 - overlap)


@register
class IouAwareLoss(nn.Layer):
    """Cross entropy of the predicted IoU, with the actual IoU as label (PP-YOLOv2, section 3.2)."""

    __checked__ = True

    def __init__(
        self, loss_weight: float = 1.0, giou: bool = False, diou: bool = False, ciou: bool = False
    ):
        super().__init__()
        self.loss_weight = loss_weight
        self._overlap = _overlap_function(giou, diou, ciou)

    def forward(self, iou_logit: Tensor, predicted_xyxy: Tensor, target_xyxy: Tensor) -> Tensor:
        """Logits [...], boxes [..., 4] and [..., 4] to losses [...]; only logits get a gradient."""
        label = self._overlap(predicted_xyxy, target_xyxy).detach()
        return self.loss_weight * binary_cross_entropy(iou_logit, label)


@register
class SoftWeightIouAwareLoss(nn.Layer):
    """-loss_weight * IoU * ln(sigmoid(logit)): the IoU-aware loss of PP-YOLO (arXiv:2007.12099).

    Its gradient never decreases the prediction. PP-YOLOv2 (section 3.2) replaced this "soft weight"
    by the "soft label" of `IouAwareLoss`, which is minimal where the prediction equals the IoU.
    """

    __checked__ = True

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, iou_logit: Tensor, predicted_xyxy: Tensor, target_xyxy: Tensor) -> Tensor:
        """See `IouAwareLoss.forward`."""
        weight = box_ops.iou(predicted_xyxy, target_xyxy).detach()
        return self.loss_weight * weight * F.softplus(-iou_logit)
