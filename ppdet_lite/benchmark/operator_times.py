"""The time of a network in Paddle Inference by kind of operator."""

from typing import Any, Callable


def operator_times(execute: Callable[[], object], runs: int = 3) -> dict[str, float]:
    """Milliseconds of one run by kind of operator, the largest first.

    Args:
        execute: runs a network in Paddle Inference on the CPU.
        runs: the result is their mean.
    """
    from paddle.profiler import Profiler, ProfilerTarget

    profiler = Profiler(targets=[ProfilerTarget.CPU], on_trace_ready=lambda profiler: None)
    profiler.start()
    for _ in range(runs):
        execute()
    profiler.stop()
    times: dict[str, int] = {}
    for root in profiler.profiler_result.get_data().values():  # by thread
        _add_operators(root, times)
    return {
        name: value / 1e6 / runs
        for name, value in sorted(times.items(), key=lambda entry: -entry[1])
    }


def _add_operators(node: Any, times: dict[str, int]) -> None:
    """Adds the nanoseconds of all operators below `node`; what they call themselves is in them."""
    if node.type.name == "Operator":
        name = node.name.rpartition(".")[2]  # onednn_op.conv2d and pd_op.conv2d are one kind
        times[name] = times.get(name, 0) + node.end_ns - node.start_ns
        return
    for child in node.children_node:
        _add_operators(child, times)
