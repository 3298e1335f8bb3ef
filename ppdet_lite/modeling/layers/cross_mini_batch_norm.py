"""Cross mini-batch normalization (CmBN) of YOLOv4 (arXiv:2004.10934, figure 4)."""

from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.autograd import PyLayer

from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32


class CrossMiniBatchNorm(nn.BatchNorm2D):
    """Batch norm whose statistics gather over the mini-batches of one optimizer step.

    The s-th of S mini-batches is normalized by the means, over the first s, of its mean and of its
    second moment; the next step starts anew. Its weights are the same for all S, so the earlier
    statistics need none of the corrections of CBN (arXiv:2002.05712). The gradient takes the
    statistics for those of the present mini-batch. Running statistics move with every mini-batch.

    Second moments are divided by the number of values. Darknet divides by one less, but its means
    by the number itself, which for few values gives a wrong variance.

    Args:
        norm: takes its place, with the same parameters and constants.
        mini_batches: S. The layer counts its calls in training mode.
    """

    def __init__(self, norm: nn.BatchNorm2D, mini_batches: int):
        super().__init__(norm._num_features, norm._momentum, norm._epsilon)
        self.weight, self.bias = norm.weight, norm.bias
        self._mean, self._variance = norm._mean, norm._variance
        self.mini_batches, self._seen = mini_batches, 0
        self._sums: Any = None

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        if not self.training:
            return super().forward(x)
        with full_precision():
            values = to_float32(x)
            with paddle.no_grad():
                mean, variance = self._statistics(values)
            normalized = _Normalize.apply(
                values, self.weight, self.bias, mean, variance, self._epsilon
            )
        return normalized.astype(x.dtype)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance [C] over the mini-batches so far; moves the running statistics."""
        moments = paddle.stack([x.mean(axis=[0, 2, 3]), x.square().mean(axis=[0, 2, 3])])
        self._sums = moments if self._seen == 0 else self._sums + moments
        mean, square = self._sums / (self._seen + 1)
        self._seen = (self._seen + 1) % self.mini_batches
        variance = (square - mean.square()).clip(min=0.0)
        for running, new in ((self._mean, mean), (self._variance, variance)):
            running.set_value(self._momentum * running + (1 - self._momentum) * new)
        return mean, variance


class _Normalize(PyLayer):
    """Normalization by given statistics, with the gradient of an ordinary batch norm."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        epsilon: float,
    ) -> Tensor:
        shape = [1, -1, 1, 1]
        scale = (variance + epsilon).rsqrt().reshape(shape)
        normalized = (x - mean.reshape(shape)) * scale
        ctx.save_for_backward(normalized, weight, scale)
        return normalized * weight.reshape(shape) + bias.reshape(shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        normalized, weight, scale = ctx.saved_tensor()
        by_bias = grad.sum(axis=[0, 2, 3])
        by_weight = (grad * normalized).sum(axis=[0, 2, 3])
        shape, count = [1, -1, 1, 1], grad.size // grad.shape[1]
        average = (by_bias.reshape(shape) + normalized * by_weight.reshape(shape)) / count
        by_x = weight.reshape(shape) * scale * (grad - average)
        return by_x, by_weight, by_bias, None, None


def gather_over_mini_batches(model: nn.Layer, mini_batches: int) -> None:
    """Puts a `CrossMiniBatchNorm` in the place of every batch norm of `model`; parameters stay the
    same objects. Frozen norms stay as they are.
    """
    for name, child in list(model.named_children()):
        if not isinstance(child, nn.BatchNorm2D):
            gather_over_mini_batches(child, mini_batches)
        elif not child._use_global_stats:
            setattr(model, name, CrossMiniBatchNorm(child, mini_batches))
