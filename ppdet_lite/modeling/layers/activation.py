"""Activations by the names that configurations use, see `arguments.Act`."""

from typing import Callable, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor


def _leaky(x: Tensor) -> Tensor:
    """LeakyReLU with slope 0.1.

    A graph gets the same function in other operators: Paddle 3.3's oneDNN predictor crashes on the
    slope of an exported `leaky_relu`, which has become a double (Paddle pull request 75547). These
    are all oneDNN's; `maximum` would change the layout of every map.
    """
    if paddle.in_dynamic_mode():
        return F.leaky_relu(x, negative_slope=0.1)
    return F.relu(x) * 0.9 + x * 0.1


def _silu(x: Tensor) -> Tensor:
    """SiLU, x * sigmoid(x), arXiv:1702.03118.

    A graph gets Paddle's operator swish, the same function, which oneDNN joins to a convolution.
    """
    return F.silu(x) if paddle.in_dynamic_mode() else F.swish(x)


ACTIVATIONS: dict[Optional[str], Optional[Callable[[Tensor], Tensor]]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky": _leaky,
    "mish": F.mish,  # x * tanh(softplus(x)), arXiv:1908.08681
    "silu": _silu,
    "swish": _silu,
    "hardswish": F.hardswish,
    "linear": None,
    None: None,
}
