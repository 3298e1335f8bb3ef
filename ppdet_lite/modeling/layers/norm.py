"""Batch normalization with the training exceptions that detection recipes make."""

from paddle import ParamAttr, nn
from paddle.regularizer import L2Decay


def batch_norm(
    channels: int, norm_decay: float = 0.0, freeze_norm: bool = False, learning_rate: float = 1.0
) -> nn.BatchNorm2D:
    """BatchNorm2D (momentum 0.9, epsilon 1e-5) whose parameters carry their own L2 and rate.

    Args:
        norm_decay: L2 coefficient of scale and shift, in place of the optimizer's.
        freeze_norm: use the stored statistics in training too, and do not train scale and shift.
        learning_rate: factor on the learning rate of scale and shift.
    """
    attr = ParamAttr(
        learning_rate=0.0 if freeze_norm else learning_rate,
        regularizer=L2Decay(norm_decay),
        trainable=not freeze_norm,
    )
    use_global_stats = True if freeze_norm else None
    return nn.BatchNorm2D(
        channels, weight_attr=attr, bias_attr=attr, use_global_stats=use_global_stats
    )


def synchronize_norms(model: nn.Layer) -> None:
    """Makes every batch norm of `model` take its statistics over all processes, in place.

    Parameters stay the same objects. Frozen norms stay as they are: Paddle's synchronized layer
    would let their stored statistics move.
    """
    for name, child in list(model.named_children()):
        if not isinstance(child, nn.BatchNorm2D):
            synchronize_norms(child)
        elif not child._use_global_stats:
            setattr(model, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))


def set_norm_constants(model: nn.Layer, epsilon: float, momentum: float) -> None:
    """Sets both in every batch norm of `model`: `epsilon` is added to the variance, `momentum` is
    the share of the running statistics that stays at each step.
    """
    for layer in model.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            layer._epsilon, layer._momentum = epsilon, momentum
