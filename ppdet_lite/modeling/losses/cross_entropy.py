"""Cross entropy on logits."""

import paddle.nn.functional as F
from paddle import Tensor


def binary_cross_entropy(logit: Tensor, label: Tensor) -> Tensor:
    """-label * ln(sigmoid(logit)) - (1 - label) * ln(1 - sigmoid(logit)), element by element.

    In place of `F.binary_cross_entropy_with_logits`, whose gradient is wrong at a logit of exactly
    0 in Paddle 3.3 (-0.5 - label, it should be 0.5 - label) and which takes more passes.
    """
    return F.softplus(logit) - logit * label
