"""Reads and writes `.safetensors`: a JSON header with types, shapes and places, then the numbers.

Format: https://huggingface.co/docs/safetensors. It cannot hold code and needs no package to read.
"""

import json
import math
import os
from typing import Any, BinaryIO, Mapping

import numpy as np

from ppdet_lite.core.errors import CheckpointError

_DTYPES = {"BF16": "<u2", "BOOL": "|b1"}  # bfloat16 as Paddle stores it
_DTYPES.update({f"{kind}{8 * n}": f"<{kind.lower()}{n}" for kind in "IU" for n in (1, 2, 4, 8)})
_DTYPES.update({f"F{8 * n}": f"<f{n}" for n in (2, 4, 8)})
_MAX_HEADER = 8 << 20


def write_safetensors(stream: BinaryIO, weights: Mapping[str, Any]) -> None:
    """Writes the arrays among the weights by their keys."""
    arrays = {key: value for key, value in weights.items() if isinstance(value, np.ndarray)}
    names = {np.dtype(code): name for name, code in _DTYPES.items() if name != "BF16"}
    header: dict = {"__metadata__": {"format": "pd"}}
    end = 0
    for key, array in arrays.items():
        start, end = end, end + array.nbytes
        facts = {"dtype": names[array.dtype], "shape": list(array.shape)}
        header[key] = {**facts, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for array in arrays.values():
        stream.write(array.tobytes())


def read_safetensors(path: str) -> dict[str, np.ndarray]:
    """The arrays of a file by their keys, in the order of the file; bfloat16 as uint16.

    Raises:
        CheckpointError: it cannot be read, is cut short or damaged.
    """
    try:
        with open(path, "rb") as stream:
            return _read(stream, os.fstat(stream.fileno()).st_size)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise CheckpointError(f"{path}: damaged or not a safetensors file: deep header") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"damaged or not a safetensors file: {str(error)[:200] or 'odd header'}"
        raise CheckpointError(f"{path}: {problem}. Fetch it again.") from None


def _read(stream: BinaryIO, size: int) -> dict[str, np.ndarray]:
    length = int.from_bytes(stream.read(8), "little")
    if not 2 <= length <= min(size - 8, _MAX_HEADER):
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    header, left = json.loads(stream.read(length).decode("utf-8")), size - 8 - length
    header.pop("__metadata__", None)
    arrays, end = {}, 0
    for key in sorted(header, key=lambda name: header[name]["data_offsets"]):
        facts = header[key]
        dtype, shape = np.dtype(_DTYPES[facts["dtype"]]), facts["shape"]
        start, stop = facts["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (start, stop, *shape)):
            raise ValueError(f"{key!a}: odd shape or place")
        if start != end or stop - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{key!a}: {dtype} {shape} does not fit its place {start} to {stop}")
        if stop > left:
            raise ValueError(f"truncated: {stop} bytes are announced, {left} are there")
        raw, end = np.empty(stop - start, np.uint8), stop
        if stream.readinto(raw) != len(raw):  # type: ignore[attr-defined]
            raise ValueError("truncated")
        arrays[key] = raw.view(dtype).reshape(shape)
    if end != left:
        raise ValueError(f"{left - end} bytes too many")
    return arrays
