"""The part of a network that stays in float when the rest becomes INT8.

It is the same in every library: decoding and NMS, deformable convolutions with the convolutions
that predict their offsets and masks, and the last convolutions of the head. Boxes of a large image
need more than 256 steps, as do offsets, and the head's raw outputs pass exponentials.
"""

from typing import Iterable, Mapping, NamedTuple, Optional, Sequence

CONVOLUTIONS = ("Conv", "Convolution", "GroupConvolution", "DeformConv")
"""By the names of ONNX and OpenVINO."""

SIZES = ("Shape", "ShapeOf")
"""Operators that read a size, not values."""

SAMPLING = {"GridSample": 1, "DeformConv": 2}
"""Operators that read a map at places of their own, with the first input that tells the places."""


class Operator(NamedTuple):
    """An operator of a graph: its kind, and by input the operator that makes it; None for inputs of
    the graph and for constants."""

    kind: str
    sources: Sequence[Optional[str]]


def float_part(graph: Mapping[str, Operator], raw: Iterable[str]) -> set[str]:
    """Names of the operators that stay in float.

    Args:
        graph: all operators by name.
        raw: those whose outputs are the raw outputs of the network.
    """
    users: dict[str, list[str]] = {name: [] for name in graph}
    for name, operator in graph.items():
        for source in filter(None, operator.sources):
            users[source].append(name)
    raw = list(raw)
    found = set(graph) - _above(graph, raw, stop=())  # decoding and NMS
    found |= _above(graph, raw, stop=CONVOLUTIONS)
    for name, operator in graph.items():
        if operator.kind in SAMPLING:
            places = operator.sources[SAMPLING[operator.kind] :]
            found |= {name} | _above(graph, places, stop=CONVOLUTIONS, without=SIZES)
            if operator.kind not in CONVOLUTIONS:  # the filters stand in a convolution behind it
                found |= _below(graph, users, name)
    return found


def _above(
    graph: Mapping[str, Operator],
    names: Iterable[Optional[str]],
    stop: Sequence[str],
    without: Sequence[str] = (),
) -> set[str]:
    """The operators from which the outputs of others follow, and those themselves, up to operators
    of the kinds `stop`, which count, or `without`, which do not."""
    todo, found = list(names), set()
    while todo:
        name = todo.pop()
        if name is None or name in found or graph[name].kind in without:
            continue
        found.add(name)
        if graph[name].kind not in stop:
            todo += graph[name].sources
    return found


def _below(graph: Mapping[str, Operator], users: Mapping[str, list[str]], name: str) -> set[str]:
    """The operators that follow from one, up to convolutions."""
    todo, found = list(users[name]), set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            if graph[name].kind not in CONVOLUTIONS:
                todo += users[name]
    return found
