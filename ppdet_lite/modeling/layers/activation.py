"""Activations by the names that configurations use."""

from typing import Callable, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppdet_lite.modeling.arguments import check_arguments, one_of


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

    A graph gets it as Paddle's operator swish, which is the same function: oneDNN makes that one a
    part of the convolution before it, but not the operator silu.
    """
    return F.silu(x) if paddle.in_dynamic_mode() else F.swish(x)


_ACTIVATIONS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky": _leaky,
    "mish": F.mish,  # x * tanh(softplus(x)), arXiv:1908.08681
    "silu": _silu,
    "swish": _silu,
    "hardswish": F.hardswish,
    "linear": None,
}


def activation(name: Optional[str]) -> Optional[Callable[[Tensor], Tensor]]:
    """The function called `name`; None for None or `linear`. `leaky` has slope 0.1."""
    name = "linear" if name is None else name
    check_arguments(one_of("act", name, list(_ACTIVATIONS)))
    return _ACTIVATIONS[name]
