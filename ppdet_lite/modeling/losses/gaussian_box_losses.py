"""Losses of the boxes of Gaussian YOLOv3 (arXiv:1904.04620), given as raw outputs.

Each coordinate is a normal distribution: of the center's offset in its cell and of the logarithm of
the side over the anchor's. Its loss is scale / 2 * -log(N + 1e-9), where
N = exp(-((truth - mean) / deviation)^2 / 2) / (sqrt(2 pi) (deviation + 0.3)), and small boxes have
a scale of up to 2. The 0.3, which the paper does not mention, is that of its authors' code.
"""

import math
from typing import Optional, Union

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Positive
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import PerLevel
from ppdet_lite.modeling.geometry.gaussian_layout import VALUES
from ppdet_lite.modeling.losses.anchor_box_losses import (
    CellPlaces,
    DarknetBoxLoss,
    IouBoxLoss,
    box_scale,
    clipped,
    logit_error,
    with_gradient,
)

EPSILON, WIDENING = 1e-9, 0.3
LEAST_DEVIATION = 1e-6
"""Smaller ones would overflow; the density of all but the true value is 0 long before."""


def density(error: Tensor, deviation: Tensor) -> Tensor:
    """N of the true values; all tensors [E, 4]."""
    exponent = -(error / deviation).square() / 2
    return exponent.exp() / (math.sqrt(2 * math.pi) * (deviation + WIDENING))


@register
class GaussianBoxLoss(nn.Layer):
    """The negative log-likelihood of the true boxes, summed, with its true gradient.

    Args:
        loss_weight: of the likelihood.
        box_loss: teaches the means in place of the likelihood, which then teaches the deviations
            only; None: the likelihood teaches both, as in the paper.
    """

    __checked__ = True
    __inject__ = ("box_loss",)

    box_values = VALUES

    def __init__(
        self,
        loss_weight: Positive = 1.0,
        box_loss: Union[IouBoxLoss, DarknetBoxLoss, None] = None,
    ):
        super().__init__()
        self.loss_weight, self.box_loss = loss_weight, box_loss

    def forward(
        self, raw: Tensor, places: CellPlaces, target_cxcywh: Tensor, weight: Tensor
    ) -> Tensor:
        """Raw means and deviations of x, y, w, h, first all means [E, 8], true boxes [E, 4] and
        weights [E] to a scalar."""
        means, logits = raw[:, :4], raw[:, 4:]
        total = paddle.zeros([])
        if self.box_loss is not None:
            total = self.box_loss(means, places, target_cxcywh, weight)
            means = means.detach()
        error = logit_error(means, places, target_cxcywh)
        deviation = F.sigmoid(logits).clip(min=LEAST_DEVIATION)
        surprise = -(density(error, deviation) + EPSILON).log()
        rows = (surprise * box_scale(target_cxcywh) / 2).sum(axis=1)
        return total + self.loss_weight * (rows * weight).sum()


@register
class DarknetGaussianLoss(nn.Layer):
    """The likelihood with darknet's deltas as gradient: its derivatives by mean and deviation, not
    by the raw outputs, so that those of sigmoid and grid sensitivity are left out.

    The value is the likelihood, weighted.

    Args:
        loss_weight: darknet's `iou_normalizer`, of the deltas of the means; see `box_loss`.
        uncertainty_weight: darknet's `uc_normalizer`, of the deltas of the deviations.
        box_loss: see `GaussianBoxLoss`; darknet's `iou_loss` other than mse.
        max_delta: limit of each delta, a number or one per level; None: none.
    """

    __checked__ = True
    __inject__ = ("box_loss",)

    box_values = VALUES

    def __init__(
        self,
        loss_weight: Positive = 1.0,
        uncertainty_weight: Positive = 1.0,
        box_loss: Union[IouBoxLoss, DarknetBoxLoss, None] = None,
        max_delta: Optional[PerLevel] = 5.0,
    ):
        super().__init__()
        self.loss_weight, self.uncertainty_weight = loss_weight, uncertainty_weight
        self.box_loss, self.max_delta = box_loss, max_delta

    def forward(
        self, raw: Tensor, places: CellPlaces, target_cxcywh: Tensor, weight: Tensor
    ) -> Tensor:
        """See `GaussianBoxLoss.forward`."""
        total = paddle.zeros([])
        if self.box_loss is not None:
            total = self.box_loss(raw[:, :4], places, target_cxcywh, weight)
        with paddle.no_grad():
            error = logit_error(raw[:, :4], places, target_cxcywh)
            deviation = F.sigmoid(raw[:, 4:]).clip(min=LEAST_DEVIATION)
            found = density(error, deviation)
            scale = box_scale(target_cxcywh) / 2
            by_mean, by_deviation = self._deltas(error, deviation, found, scale)
            if self.box_loss is not None:
                by_mean = paddle.zeros_like(by_mean)
            deltas = clipped(
                paddle.concat([by_mean, by_deviation], axis=1), self.max_delta, places.number
            )
            surprise = -(found + EPSILON).log() * scale
            value = self.uncertainty_weight * (surprise.sum(axis=1) * weight).sum()
        return total + with_gradient(value, raw, -deltas * weight.unsqueeze(1))

    def _deltas(
        self, error: Tensor, deviation: Tensor, found: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of means and of deviations, [E, 4] each; negative derivatives."""
        share = scale * found / (found + EPSILON)
        square = (error / deviation).square()
        by_mean = share * error / deviation.square()
        by_deviation = share * (square / deviation - 1 / (deviation + WIDENING))
        return self.loss_weight * by_mean, self.uncertainty_weight * by_deviation
