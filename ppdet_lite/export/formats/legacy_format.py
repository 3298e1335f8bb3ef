"""The format paddle-legacy: graphs of Paddle 2 (model.pdmodel), written by Paddle 3 as well.

Paddle 3 still traces and saves them, but since 3.2 some of its functions are implemented in C++ for
tensors and for its own new graphs only and refuse the variables of an old one. While an old graph
is traced, those that detectors use are given back: they append the operator of Paddle 2.
"""

import contextlib
from pathlib import Path
from typing import Any, Callable, Iterator

import paddle
from paddle import _C_ops, nn
from paddle.base.framework import Variable
from paddle.base.layer_helper import LayerHelper

from ppdet_lite.core.errors import UserError
from ppdet_lite.export.formats.paddle_format import PaddleFormat
from ppdet_lite.export.options import ExportOptions

OPERATORS = {
    "sigmoid": "sigmoid",
    "floor": "floor",
    "exp": "exp",
    "sqrt": "sqrt",
    "isfinite": "isfinite_v2",
    "maximum": "elementwise_max",
    "logical_and": "logical_and",
    "sum": "reduce_sum",
    "matmul": "matmul_v2",
}
"""Function -> operator of Paddle 2 with inputs X (and Y) and the output Out."""

PREDICATES = ("isfinite", "logical_and")
"""Their results are truth values; the others' are of the type of the input."""


class LegacyFormat(PaddleFormat):
    """model.pdmodel, which Paddle 2 and 3 read, and model.pdiparams."""

    name = "paddle-legacy"

    def write(self, network: nn.Layer, folder: Path, options: ExportOptions) -> None:
        try:
            with legacy_graphs():
                super().write(network, folder, options)
        except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError) as error:
            raise UserError(
                f"`formats` {self.name}: Paddle {paddle.__version__} cannot write this network as "
                f"model.pdmodel ({' '.join(str(error).split())[-200:]}); use paddle, or Paddle 2.6"
            ) from error


@contextlib.contextmanager
def legacy_graphs() -> Iterator[None]:
    """Context in which traced graphs are of the kind that Paddle 2 reads; without effect there."""
    guard = getattr(getattr(paddle, "pir_utils", None), "DygraphOldIrGuard", None)
    if guard is None:  # Paddle 2 knows no other kind
        yield
        return
    places = [(owner, name) for name in OPERATORS for owner in (_C_ops, Variable)]
    before = {place: getattr(*place, None) for place in places}
    for place, function in before.items():
        setattr(*place, _for_variables(place[1], function))
    try:
        with guard():
            yield
    finally:
        for place, function in before.items():
            if function is None:
                delattr(*place)
            else:
                setattr(*place, function)


def _for_variables(name: str, otherwise: Any) -> Callable:
    """`otherwise`, but for the variables of an old graph a function that appends the operator."""

    def call(x, *others, **settings):
        if not isinstance(x, Variable):
            return otherwise(x, *others, **settings)
        helper = LayerHelper(name)
        dtype = "bool" if name in PREDICATES else x.dtype
        out = helper.create_variable_for_type_inference(dtype)
        attrs: dict[str, Any] = {}
        if name == "sum":
            attrs = {"dim": [settings.pop("axis")], "keep_dim": settings.pop("keepdim", False)}
            attrs["reduce_all"] = False
        elif name == "matmul":
            attrs = {"trans_x": False, "trans_y": settings.pop("transpose_y", False)}
        if len(others) > (name != "sum") or settings:
            raise TypeError(f"{name}: {others} {settings} have no form in a graph of Paddle 2 here")
        inputs = dict(zip("XY", (x, *others)))
        helper.append_op(type=OPERATORS[name], inputs=inputs, outputs={"Out": out}, attrs=attrs)
        return out

    return paddle.jit.not_to_static(call)
