"""From an .onnx to an engine of TensorRT, or of TensorRT for RTX, whose Python packages are alike.

Networks are strongly typed: every tensor has the number type that the file gives it, so that an
export in float16 runs in float16 with its float32 parts in float32. TensorRT 11 and TensorRT for
RTX know no other networks.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple, Optional

from ppdet_lite.runtime.engines.built_engines import Shapes
from ppdet_lite.runtime.engines.engine import EngineError, shortened

FIRST_RELEASE = 10
MOST_NAMED = 3


class Plan(NamedTuple):
    """A built engine.

    Attributes:
        data: the serialized engine; it belongs to the library and has the buffer protocol.
        outputs: names, in the order of the file.
        seconds: of parsing and building.
    """

    data: Any
    outputs: list[str]
    seconds: float


def make_logger(tensorrt: Any) -> Any:
    """A logger that keeps the errors of the library in its list `errors`, and prints nothing."""

    class Logger(tensorrt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (tensorrt.ILogger.ERROR, tensorrt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))

    return Logger()


def build_plan(
    tensorrt: Any,
    graph: Path,
    *,
    shapes: Optional[Shapes] = None,
    tf32: bool = False,
    target: str = "",
) -> Plan:
    """Parses an .onnx and builds it.

    Args:
        tensorrt: the package, `tensorrt` or `tensorrt_rtx`.
        shapes: smallest, usual and largest shape of inputs, for those that the file leaves open.
        tf32: float32 products with factors of 10 bits.
        target: a GPU to build for, as "SM89", that need not be here; TensorRT for RTX only.

    Raises:
        EngineError: an operator that the parser cannot take, by name and node, or a network that
            cannot be built.
    """
    start = time.perf_counter()
    logger = make_logger(tensorrt)
    title = tensorrt.__name__
    builder = tensorrt.Builder(logger)
    typed = getattr(tensorrt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise EngineError(graph, f"{title} cannot read this model: {_parser_problems(parser)}")
    config = builder.create_builder_config()
    if tf32:
        config.set_flag(tensorrt.BuilderFlag.TF32)
    else:
        config.clear_flag(tensorrt.BuilderFlag.TF32)  # on by default
    if target:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(tensorrt.ComputeCapability, target), 0)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    if any(side < 0 for tensor in inputs for side in tensor.shape):
        profile = builder.create_optimization_profile()
        for tensor in inputs:
            if any(side < 0 for side in tensor.shape) and tensor.name in (shapes or {}):
                profile.set_shape(tensor.name, *(shapes or {})[tensor.name])
        config.add_optimization_profile(profile)
    outputs = [network.get_output(index).name for index in range(network.num_outputs)]
    data = builder.build_serialized_network(network, config)
    if data is None:
        reason = "; ".join(logger.errors[-MOST_NAMED:]) or "it does not say why"
        raise EngineError(graph, f"{title} cannot build this model: {shortened(reason)}")
    return Plan(data, outputs, time.perf_counter() - start)


def _parser_problems(parser: Any) -> str:
    """What the parser cannot take: operators, their nodes, and the reason of the first."""
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    named = {}
    for error in errors:
        operator, node = error.node_operator(), error.node_name()
        if operator and operator not in named:
            named[operator] = f"operator {operator} (node {node or error.node()})"
    reason = " ".join(errors[0].desc().split()) if errors else "it does not say why"
    found = ", ".join([*named.values()][:MOST_NAMED])
    return shortened(f"{found}: {reason}" if found else reason)
