"""Cross entropy on logits."""

import paddle.nn.functional as F
from paddle import Tensor


def binary_cross_entropy(logit: Tensor, label: Tensor) -> Tensor:
    """-label * ln(sigmoid(logit)) - (1 - label) * ln(1 - sigmoid(logit)), element by element.

    In Paddle 3.3 `F.binary_cross_entropy_with_logits` is slower and has a wrong gradient at logit 0
    (-0.5 - label instead of 0.5 - label).
    """
    return F.softplus(logit) - logit * label
