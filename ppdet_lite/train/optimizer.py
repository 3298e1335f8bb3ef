"""Builds the optimizer from the `OptimizerBuilder` section, with PaddleDetection's key names.

The layers say in their `ParamAttr` which parameter is decayed and with which rate; a parameter's
own regularizer replaces the global one. Order within a step (Paddle's): the gradients are clipped
by their global norm, L2 x parameter is added, then momentum is applied.
"""

import inspect
from typing import Annotated, Any, Mapping, Optional, Union

import numpy as np
import paddle
from paddle import nn
from paddle import regularizer as paddle_regularizer
from paddle.optimizer import Optimizer
from paddle.optimizer.lr import LRScheduler

from ppdet_lite.core.annotations import Positive, Rule, checked, describe, matches
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.workspace import register

_OPTIMIZERS = {k: getattr(paddle.optimizer, k) for k in ("Momentum", "SGD", "Adam", "AdamW")}
_REGULARIZERS = {"L1": paddle_regularizer.L1Decay, "L2": paddle_regularizer.L2Decay}
# An average over steps whose share of the past is 1 or more grows without end.
_Share = Annotated[float, Rule(lambda share: 0 <= share < 1, "0 or more and below 1")]
_RANGES = {"momentum": _Share, "beta1": _Share, "beta2": _Share, "epsilon": Positive}
# Arguments of Paddle's optimizers that are set here and not in the `optimizer` mapping.
_SET_HERE = "self learning_rate parameters weight_decay grad_clip apply_decay_param_fun lr_ratio"


@register
class OptimizerBuilder:
    """The optimizer's settings; calling it with a rate and parameters makes the optimizer.

    Args:
        clip_grad_by_norm: largest global L2 norm of all gradients together; None = no clipping.
        clip_grad_by_value: largest absolute value of a gradient element; None = no clipping.
        regularizer: `{type: L2, factor: 0.0005}`; None or false for no weight decay. A config that
            leaves the key out gets L2 with 0.0001, as in PaddleDetection.
        optimizer: `{type: Momentum, momentum: 0.9, ...}`; further keys are those of
            `paddle.optimizer.<type>`.
    """

    @checked
    def __init__(
        self,
        clip_grad_by_norm: Optional[Positive] = None,
        clip_grad_by_value: Optional[Positive] = None,
        regularizer: Union[dict, bool, None] = None,
        optimizer: Optional[dict] = None,
    ):
        if clip_grad_by_norm is not None and clip_grad_by_value is not None:
            raise ConfigError("give `clip_grad_by_norm` or `clip_grad_by_value`, not both")
        self.clip_grad_by_norm, self.clip_grad_by_value = clip_grad_by_norm, clip_grad_by_value
        found = regularizer.get("type") if isinstance(regularizer, dict) else regularizer
        if regularizer and str(found) not in _REGULARIZERS:
            raise ConfigError(f"regularizer.type: found {found!r}, allowed: L1, L2")
        self.regularizer = regularizer if isinstance(regularizer, dict) else {}
        factor = self.regularizer.get("factor", 0.0)
        if not matches(factor, float) or factor < 0:
            raise ConfigError(f"regularizer.factor: found {factor!r}, allowed: 0 or more")
        self.settings: dict[str, Any] = dict(optimizer or {"momentum": 0.9})
        self.kind = str(self.settings.pop("type", "Momentum"))
        if self.kind not in _OPTIMIZERS:
            raise ConfigError(
                f"optimizer.type: found '{self.kind}', allowed: {', '.join(_OPTIMIZERS)}"
                + nearest_hint(self.kind, _OPTIMIZERS)
            )
        known = inspect.signature(_OPTIMIZERS[self.kind].__init__).parameters
        allowed = [name for name in known if name not in _SET_HERE.split()]
        problems = [
            f"optimizer.{key}: unknown key of {self.kind}{nearest_hint(key, allowed)}; "
            f"allowed: {', '.join(allowed)}"
            for key in self.settings
            if key not in allowed
        ]
        kinds = {float: float, int: float, bool: bool, type(None): str}  # of Paddle's defaults
        for key in allowed:
            kind = _RANGES.get(key, kinds.get(type(known[key].default), Any))
            if key in self.settings and not matches(self.settings[key], kind):
                problem = f"found {self.settings[key]!r}, allowed: {describe(kind)}"
                problems.append(f"optimizer.{key}: {problem}")
        if problems:
            raise ConfigError(problems)

    @classmethod
    def from_config(cls, section) -> dict:
        """PaddleDetection's weight decay for a section that does not mention it."""
        default = {"type": "L2", "factor": 0.0001}
        return {} if "regularizer" in section else {"regularizer": default}

    def __call__(self, learning_rate: Union[float, LRScheduler], parameters: list) -> Optimizer:
        """Makes the optimizer of `parameters`; frozen ones (stop_gradient) are left out."""
        norm, value, clip = self.clip_grad_by_norm, self.clip_grad_by_value, None
        if norm is not None or value is not None:
            clip = nn.ClipGradByValue(value) if norm is None else nn.ClipGradByGlobalNorm(norm)
        parameters = [p for p in parameters if not p.stop_gradient]
        factor = float(self.regularizer.get("factor", 0.0))
        decay: dict[str, Any] = {}
        if self.kind == "AdamW":  # decoupled: a bare coefficient, parameters opt out by name
            own = {p.name: getattr(p, "regularizer", None) for p in parameters}
            undecayed = {name for name, each in own.items() if getattr(each, "_coeff", 1) == 0}
            decay["weight_decay"] = factor
            decay["apply_decay_param_fun"] = lambda name: name not in undecayed
        elif self.regularizer:
            decay["weight_decay"] = _REGULARIZERS[self.regularizer["type"]](factor)
        settings = {"parameters": parameters, "grad_clip": clip, **decay, **self.settings}
        return _OPTIMIZERS[self.kind](learning_rate, **settings)


def optimizer_state(optimizer: Optimizer, model: nn.Layer) -> dict[str, np.ndarray]:
    """The optimizer's accumulators as numpy arrays, keyed `<parameter key>/<accumulator>`: Paddle's
    own names count the layers of a process and mean nothing to another one.
    """
    return {key: tensor.numpy() for key, tensor in _live_accumulators(optimizer, model).items()}


def misfit(arrays: Mapping[str, Any], tensors: Mapping[str, paddle.Tensor]) -> str:
    """A text about arrays that cannot take the place of the tensors; "" if all can."""
    odd = sorted({*map(str, arrays)} ^ {*tensors})
    if not odd:
        shapes = {key: list(getattr(array, "shape", ())) for key, array in arrays.items()}
        odd = [key for key, tensor in tensors.items() if shapes[key] != list(tensor.shape)]
    if odd:
        return f"{len(odd)} tensors differ in name or shape, for instance {', '.join(odd[:3])}"
    for key, array in arrays.items():
        kinds = "f" if "float" in str(tensors[key].dtype) else "iub"
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            found = getattr(array, "dtype", type(array).__name__)
            return f"{key} holds {found} instead of {str(tensors[key].dtype).split('.')[-1]}"
        if not np.isfinite(array).all():
            return f"{key} holds NaN or infinite numbers"
    return ""


@paddle.no_grad()
def restore_optimizer_state(optimizer: Optimizer, model: nn.Layer, state: dict) -> None:
    """The inverse of `optimizer_state`, for an optimizer that has not made a step yet. A KeyError
    names accumulators that differ.
    """
    # The optimizer creates its accumulators in a step only: one with gradients of zero is made.
    parameters = [p for p in model.parameters() if not p.stop_gradient]
    before = [p.clone() for p in parameters]
    for parameter in parameters:
        parameter.grad = paddle.zeros_like(parameter)
    optimizer.step()
    optimizer.clear_grad()
    for parameter, value in zip(parameters, before):
        parameter.set_value(value)
    live = _live_accumulators(optimizer, model)
    if problem := misfit(state, live):
        raise KeyError(f"optimizer: {problem}")
    for key, tensor in live.items():
        tensor.set_value(state[key])


def _live_accumulators(optimizer: Optimizer, model: nn.Layer) -> dict[str, paddle.Tensor]:
    """`<parameter key>/<accumulator>` -> the optimizer's own tensor."""
    keys = {parameter.name: key for key, parameter in model.named_parameters()}
    state = optimizer.state_dict()
    state.pop("LR_Scheduler", None)
    found = {
        f"{keys[name]}/master": tensor
        for name, tensor in (state.pop("master_weights", None) or {}).items()
    }
    for name, tensor in state.items():
        # "<parameter name>_<accumulator>_<number of this optimizer>"
        stem = name.rpartition("_")[0]
        owner = max((n for n in keys if stem.startswith(n + "_")), key=len)
        found[f"{keys[owner]}/{stem[len(owner) + 1 :]}"] = tensor
    return found
