"""Losses on the overlap of predicted and true boxes, and on the prediction of that overlap."""

import paddle.nn.functional as F
from paddle import nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register, serializable
from ppdet_lite.modeling.losses.cross_entropy import binary_cross_entropy
from ppdet_lite.ops import boxes as box_ops

_OVERLAPS = {
    "giou": box_ops.giou,
    "diou": box_ops.diou,
    "ciou": box_ops.ciou,
}


def _overlap_function(**switches: bool):
    """The overlap whose switch is on; plain IoU when all are off."""
    chosen = [name for name, on in switches.items() if on]
    if len(chosen) > 1:
        raise ConfigError(f"found {' and '.join(chosen)} true, allowed: at most one of them")
    return _OVERLAPS[chosen[0]] if chosen else box_ops.iou


@register
@serializable
class IouLoss(nn.Layer):
    """loss_weight * (1 - IoU^2), or with `loss_square` off loss_weight * (1 - IoU).

    Generalized overlaps are negative for boxes far apart; their square keeps the sign, so that the
    loss still falls as the boxes approach.

    Args:
        loss_weight: factor.
        giou, diou, ciou: overlap to use in place of plain IoU; at most one.
        loss_square: square the overlap.

    Raises:
        ConfigError: more than one overlap chosen.
    """

    def __init__(
        self,
        loss_weight: float = 2.5,
        giou: bool = False,
        diou: bool = False,
        ciou: bool = False,
        loss_square: bool = True,
    ):
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_square = loss_square
        self._overlap = _overlap_function(giou=giou, diou=diou, ciou=ciou)

    def forward(self, predicted_xyxy, target_xyxy):
        """Boxes [..., 4] and [..., 4] to the loss of each pair [...]."""
        overlap = self._overlap(predicted_xyxy, target_xyxy)
        if self.loss_square:
            overlap = overlap * overlap.abs()
        return self.loss_weight * (1 - overlap)


@register
@serializable
class IouAwareLoss(nn.Layer):
    """Cross entropy of a predicted IoU with the IoU reached as soft label (PP-YOLOv2, section 3.2).

    Args:
        loss_weight: factor.
        giou, diou, ciou: overlap to use in place of plain IoU; at most one.

    Raises:
        ConfigError: more than one overlap chosen.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        giou: bool = False,
        diou: bool = False,
        ciou: bool = False,
    ):
        super().__init__()
        self.loss_weight = loss_weight
        self._overlap = _overlap_function(giou=giou, diou=diou, ciou=ciou)

    def forward(self, iou_logit, predicted_xyxy, target_xyxy):
        """Logits [...], boxes [..., 4] and [..., 4] to the loss of each [...].

        The label is a constant: the gradient reaches the logit only.
        """
        label = self._overlap(predicted_xyxy, target_xyxy).detach()
        return self.loss_weight * binary_cross_entropy(iou_logit, label)


@register
@serializable
class SoftWeightIouAwareLoss(nn.Layer):
    """-loss_weight * IoU * ln(sigmoid(logit)): the IoU-aware loss of PP-YOLO (arXiv:2007.12099).

    The IoU reached weighs the push of the prediction towards 1; nothing pushes it towards smaller
    values. PP-YOLOv2 (section 3.2) replaced this "soft weight" by the "soft label" of
    `IouAwareLoss`, whose two terms have their minimum where the prediction equals the IoU.

    Args:
        loss_weight: factor.
    """

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, iou_logit, predicted_xyxy, target_xyxy):
        """Logits [...], boxes [..., 4] and [..., 4] to the loss of each [...].

        The IoU is a constant: the gradient reaches the logit only.
        """
        weight = box_ops.iou(predicted_xyxy, target_xyxy).detach()
        return self.loss_weight * weight * F.softplus(-iou_logit)
