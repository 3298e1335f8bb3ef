"""The values that a pickle of arrays is made of: inert records, and numbers out of bytes."""

import math
from typing import Any, Callable, Optional

import numpy as np

_DTYPES = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16".split())
_MAX_DIMENSIONS = 16


class Refused(Exception):
    """Names what a file holds that is neither a number nor a container."""


class Name:
    """A name of Python code in the file."""

    __slots__ = ("text",)

    def __init__(self, text: str):
        self.text = text


class Data:
    """Bytes of the file, uint8 [N]; `is_text`: in UTF-8, one character for each byte meant."""

    __slots__ = ("raw", "is_text")

    def __init__(self, raw: np.ndarray, is_text: bool = False):
        self.raw, self.is_text = raw, is_text

    def bytes_meant(self) -> np.ndarray:
        """uint8 [N]; those of text are decoded once, in the place of the text."""
        if self.is_text:
            block, decoded, rest = 1 << 20, bytearray(), b""
            for start in range(0, len(self.raw), block):
                piece = rest + self.raw[start : start + block].tobytes()
                end = len(piece) - (piece[-1] >= 0xC0)  # not inside of a character
                decoded += piece[:end].decode("utf-8").encode("latin-1")
                rest = piece[end:]
            if rest:
                raise ValueError("text that is cut off")
            self.raw, self.is_text = np.frombuffer(decoded, np.uint8), False
        return self.raw


class NumberType:
    """A type of numbers; its byte order comes in a step of its own."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype


class UnfilledArray:
    """An array between its making and the step that fills it."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: Optional[np.ndarray] = None


def make_array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """Bytes as numbers of a plain type; their count must be that of the shape."""
    raw = _bytes_of(data)
    if not isinstance(dtype, NumberType) or order not in ("C", "F"):
        raise ValueError("an array without a type")
    dtype = dtype.dtype
    if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("an array without a shape")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array with sides that are no counts")
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array {list(shape)} of {dtype} out of {len(raw)} bytes")
    if dtype.kind == "b" and (raw > 1).any():
        raise ValueError("truth values other than 0 and 1")
    array = raw.view(dtype).reshape(shape, order=order)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
        if isinstance(data, Data):
            data.raw = np.empty(0, np.uint8)  # swapped in its place: of no use to a second array
    return array


def _bytes_of(data: Any) -> np.ndarray:
    if isinstance(data, str):  # short, of Python 2
        return np.frombuffer(bytearray(data.encode("latin-1")), np.uint8)
    if not isinstance(data, Data):
        raise Refused("an array of objects")
    return data.bytes_meant()


def _make_dtype(code: Any, *_: Any) -> NumberType:
    if type(code) is not str or code.lstrip("<>|=") not in _DTYPES:
        raise Refused(f"a numpy dtype {ascii(code)[:40] if type(code) is str else type(code)}")
    return NumberType(np.dtype(code))


def _make_scalar(dtype: Any, data: Any) -> Any:
    return make_array(data, dtype, (), "C").reshape(1)[0]


def _begin_array(kind: Any, *_: Any) -> UnfilledArray:
    if not isinstance(kind, Name) or kind.text != "numpy.ndarray":
        raise Refused("an array of another class")
    return UnfilledArray()


def _make_bytes(text: Any = "", encoding: Any = "latin1") -> Data:
    """Bytes that protocol 2 stores as text plus `_codecs.encode`."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused("a call of _codecs.encode")
    return Data(text.bytes_meant() if isinstance(text, Data) else _bytes_of(text))


def _make_tuple(*values: Any) -> tuple:
    """Paddle writes a tensor as tuple((name, array))."""
    if len(values) != 1 or type(values[0]) not in (tuple, list):
        raise Refused("a call of builtins.tuple")
    return tuple(values[0])


def _make_dense(expression: Any = None, names: Any = None, *more: Any) -> Any:
    """Paddle writes a dense tensor as eval("data", {"data": array}); nothing is evaluated here."""
    if expression != "data" or type(names) is not dict or set(names) != {"data"} or more:
        raise Refused("a call of eval")
    return names["data"]


def _make_dict(pairs: Any = ()) -> dict:
    """An OrderedDict; Python 2 hands over its items."""
    if type(pairs) not in (tuple, list) or not all(
        type(pair) in (tuple, list) and len(pair) == 2 and type(pair[0]) is str for pair in pairs
    ):
        raise Refused("a call of collections.OrderedDict")
    return dict(pairs)


NAMES: dict[str, Optional[Callable[..., Any]]] = {
    "numpy.ndarray": None,
    "numpy.dtype": _make_dtype,
    "numpy._core.multiarray._reconstruct": _begin_array,
    "numpy._core.multiarray.scalar": _make_scalar,
    "numpy._core.numeric._frombuffer": make_array,
    "collections.OrderedDict": _make_dict,
    "_codecs.encode": _make_bytes,
    "builtins.bytes": _make_bytes,
    "builtins.tuple": _make_tuple,
    "builtins.eval": _make_dense,
}
"""Name -> function that makes the value; None for a name that is only handed on."""
