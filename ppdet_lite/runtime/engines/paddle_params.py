"""Compares a .pdiparams with its graph without loading either.

A .pdiparams holds one tensor after the other, sorted by name: version uint32, levels uint64 with a
size uint64 and bytes each, version uint32, length int32 of a TensorDesc, the TensorDesc
(framework.proto: type 1, dims 2) and the values. Shapes of a model.json are in its operators "p",
those of a model.pdmodel in the persistable variables of its ProgramDesc.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any, BinaryIO, Iterator

from ppdet_lite.core.errors import DataError

_BYTES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2, 23: 8, 24: 16}
"""Size of a value by VarType.Type of framework.proto: BOOL, INT16, ... BF16, COMPLEX128."""
_PLAIN_VARIABLES = 7  # VarType.LOD_TENSOR

Shape = tuple[int, ...]


def check_params(graph: Path, params: Path) -> None:
    """Refuses, with a DataError, parameters that are cut short or not those of the graph."""
    found, content = shapes_in_file(params), graph.read_bytes()
    try:
        needed = sorted((_json_shapes if content[:1] == b"{" else _program_shapes)(content))
    except (ValueError, KeyError, IndexError, TypeError, RecursionError, struct.error) as error:
        raise DataError(f"{graph}: not a graph of Paddle, or a damaged one") from error
    different = [
        f"tensor {index} of shape {list(shape)}, allowed: {list(allowed)} ({name})"
        for index, (shape, (name, allowed)) in enumerate(zip(found, needed))
        if shape != allowed
    ]
    if len(found) != len(needed):
        different = [f"{len(found)} tensors, allowed: {len(needed)}"]
    if different:
        raise DataError(
            f"{params}: found {different[0][:200]}, those of {graph.name}; {graph.name} and "
            f"{params.name} do not belong together or are damaged: export the model again"
        )


def shapes_in_file(path: Path) -> list[Shape]:
    """Shapes of the tensors of a .pdiparams, in their order."""
    shapes: list[Shape] = []
    size = path.stat().st_size
    with open(path, "rb") as stream:
        while stream.tell() < size:
            try:
                kind, shape = _tensor_header(stream, size)
                end = stream.tell() + math.prod(shape) * _BYTES[kind]
                if end > size:
                    raise ValueError
            except (ValueError, KeyError, IndexError, struct.error) as error:
                text = f"damaged or cut short: tensor {len(shapes)} is not whole in {size} bytes"
                raise DataError(f"{path}: {text}; export the model again") from error
            shapes.append(shape)
            stream.seek(end)
    return shapes


def _tensor_header(stream: BinaryIO, size: int) -> tuple[int, Shape]:
    version, levels = struct.unpack("<IQ", stream.read(12))
    if version or levels > 8:
        raise ValueError
    for _ in range(levels):
        stream.seek(min(struct.unpack("<Q", stream.read(8))[0], size), 1)
    version, length = struct.unpack("<Ii", stream.read(8))
    if version or not 0 < length <= 1024:
        raise ValueError
    fields = list(_fields(stream.read(length)))
    return fields[0][1], _dims(fields)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of the fields of a protobuf message; the value is an int or bytes."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError

    while position < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        length = {1: 8, 5: 4}.get(key & 7)
        if length is None:
            if key & 7 != 2:
                raise ValueError
            length = varint()
        if position + length > len(data):
            raise ValueError
        yield key >> 3, data[position : position + length]
        position += length


def _dims(fields: list[tuple[int, Any]]) -> Shape:
    """`dims` of a TensorDesc, each an entry of its own."""
    dims = tuple(value for number, value in fields if number == 2)
    if not all(isinstance(side, int) and side < 1 << 40 for side in dims):
        raise ValueError
    return dims


def _json_shapes(graph: bytes) -> list[tuple[str, Shape]]:
    """Names and shapes of the parameters of a model.json."""
    program = json.loads(graph)["program"]
    operators = program["regions"][0]["blocks"][0]["ops"]
    return [
        (str(operator["A"][3]), tuple(operator["O"]["TT"]["D"][1]))
        for operator in operators
        if operator["#"] == "p"
    ]


def _program_shapes(graph: bytes) -> list[tuple[str, Shape]]:
    """Names and shapes of the parameters of a model.pdmodel."""
    shapes = []
    for block in (value for number, value in _fields(graph) if number == 1):
        for variable in (value for number, value in _fields(block) if number == 3):
            entries = dict(_fields(variable))
            kind = dict(_fields(entries[2]))
            if entries.get(3) and kind[1] == _PLAIN_VARIABLES:
                tensor = dict(_fields(kind[3]))[1]
                shapes.append((entries[1].decode(), _dims(list(_fields(tensor)))))
    return shapes
