"""Reads the pickles that Paddle writes, without Python's unpickler.

A pickle is a program for a small stack machine that can call any function. The machine here knows
the opcodes of protocols 2 to 5 that stand for dicts, lists, tuples, numbers, text and arrays, and
the names that go with them; anything else is refused. No name is looked up: a name becomes a record
without abilities, and arrays are made from plain number types and the bytes that the file holds.
"""

import contextlib
import os
import pickletools
from struct import unpack
from typing import Any, BinaryIO, Callable, Iterator, Mapping, Optional, Union

import numpy as np

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.pickle_values import (
    NAMES,
    Data,
    Name,
    NumberType,
    Refused,
    UnfilledArray,
    make_array,
)

_BUDGET = 100 << 20  # bytes of objects beside the arrays: more than any model's names and shapes
_STEP, _OBJECT = 64, 320  # at least what a step and a new object take of it
_LONG_TEXT = 1 << 10
_MAX_DEPTH, _MAX_VALUES = 32, 1_000_000
_DAMAGE = (ValueError, TypeError, LookupError, AttributeError, OverflowError, EOFError)


def read_pickle(path: str) -> Any:
    """Numbers, text, arrays, dicts, lists and tuples of a pickle; nothing in it is executed. The
    memory needed is at most twice the file's size plus 200 MB.

    Raises:
        CheckpointError: no such file, not a pickle, cut short, or it asks for anything else.
    """
    with refusals(path, lambda: machine.at), open(path, "rb") as stream:
        machine = Machine(stream, os.fstat(stream.fileno()).st_size)
        return machine.run()


@contextlib.contextmanager
def refusals(path: str, place: Callable[[], int]) -> Iterator[None]:
    """Raises what goes wrong with a weight file inside as a `CheckpointError`; `place` tells the
    byte of the pickle."""
    try:
        yield
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except Refused as error:
        raise CheckpointError(
            f"{path}: refused: it holds {error} where only arrays belong (byte {place()}). "
            "Weights are read without running code; convert the file to .safetensors if you trust "
            "where it comes from."
        ) from None
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path}: damaged or not a weight file ({error or type(error).__name__}, byte "
            f"{place()}). If it was downloaded or copied, fetch it again."
        ) from None


class Machine:
    """The stack machine of one file; `at` is the place of the current opcode."""

    steps: Mapping[bytes, Callable[[Any], None]]
    names: Mapping[str, Optional[Callable[..., Any]]] = NAMES

    def __init__(self, stream: BinaryIO, size: int):
        self.stream, self.size, self.at = stream, size, 0
        self.left = _BUDGET
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        if self.stream.peek(1)[:1] != b"\x80":  # type: ignore[attr-defined]
            raise ValueError("it does not begin like a pickle of protocol 2 to 5")
        while (code := self.read(1)) != b".":
            self.spend(_STEP)
            if code not in self.steps:
                names = {item.code: item.name for item in pickletools.opcodes}
                raise Refused(f"the pickle opcode {names.get(code.decode('latin-1'), code[0])}")
            self.steps[code](self)
            self.at = self.stream.tell()
        if len(self.stack) != 1 or self.marked:
            raise ValueError("it ends before its content does")
        self.check(self.stack[0])
        return self.stack[0]

    def check(self, content: Any) -> None:
        """Refuses deep or endless nesting, and records that have not become a value."""
        waiting, count = [(content, 0)], 0
        while waiting:
            value, depth = waiting.pop()
            count += 1
            if depth > _MAX_DEPTH or count > _MAX_VALUES:
                raise Refused("nested containers without end")
            if type(value) in (dict, list, tuple):
                items = value.values() if type(value) is dict else value
                waiting += [(item, depth + 1) for item in items]
                if len(waiting) > _MAX_VALUES:
                    raise Refused("nested containers without end")
            elif isinstance(value, (UnfilledArray, Name, NumberType)):
                raise Refused(getattr(value, "text", "an unfinished array"))

    def spend(self, amount: int) -> None:
        """Counts memory that does not hold numbers of arrays."""
        self.left -= amount
        if self.left < 0:
            raise Refused("more objects than a model has")

    def read(self, count: int) -> bytes:
        data = self.stream.read(count)
        if len(data) != count:
            raise EOFError("truncated")
        return data

    def number(self, form: str, width: int) -> Any:
        return unpack(form, self.read(width))[0]

    def data(self, count: int) -> np.ndarray:
        """So many bytes, uint8, in memory of their own."""
        left = self.size - self.stream.tell()
        if not 0 <= count <= left:
            raise EOFError(f"truncated: {count} bytes are announced, {left} are left")
        self.spend(_OBJECT)
        raw = np.empty(count, np.uint8)
        if self.stream.readinto(raw) != count:  # type: ignore[attr-defined]
            raise EOFError("truncated")
        return raw

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pushed_text(self, count: int, encoding: str = "utf-8") -> None:
        """Text; what is too long for a name stands for the bytes of an array."""
        if count > _LONG_TEXT:
            self.push(Data(self.data(count), is_text=encoding == "utf-8"))
            return
        self.spend(_OBJECT + 4 * count)
        self.push(self.data(count).tobytes().decode(encoding))

    def pushed_number(self, count: int) -> None:
        if not 0 <= count <= 9:
            raise Refused(f"a number of {count} bytes")
        self.push(int.from_bytes(self.read(count), "little", signed=True))

    def pushed_container(self, value: Union[dict, list]) -> None:
        self.spend(_OBJECT)
        self.push(value)

    def pushed_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("its stack is empty")
        self.spend(_OBJECT)
        self.stack[len(self.stack) - count :] = [tuple(self.stack[len(self.stack) - count :])]

    def since_mark(self) -> list[Any]:
        self.spend(_OBJECT)
        values, self.stack = self.stack, self.marked.pop()
        return values

    def mark(self) -> None:
        self.spend(_OBJECT)
        self.marked.append(self.stack)
        self.stack = []

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise Refused("values added to something else than a list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise Refused("keys added to something else than a dict")
        for key, value in zip(values[::2], values[1::2]):
            if type(key) not in (str, int, float, bool):
                raise Refused(f"a key that is a {type(key).__name__.strip('_').lower()}")
            self.spend(_OBJECT)
            target[key] = value

    def remember(self, index: int) -> None:
        self.spend(_OBJECT)
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError("it refers to a value that is not there")
        value = self.memo[index]
        filled = isinstance(value, UnfilledArray) and value.array is not None
        self.push(value.array if filled else value)

    def name(self, module: object, name: object) -> None:
        """Pushes the record of a name, if it is one of those that belong to arrays."""
        if type(module) is not str or type(name) is not str:
            raise Refused("a name that is no text")
        home = module.replace("__builtin__", "builtins")  # Python 2
        home = home.replace("numpy.core", "numpy._core")  # numpy 1
        if f"{home}.{name}" not in self.names:
            raise Refused(f"the name {f'{module}.{name}'[:200]!a}")
        self.push(Name(f"{home}.{name}"))

    def call(self) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        make = self.names.get(name.text) if isinstance(name, Name) else None
        if make is None or type(arguments) is not tuple:
            raise Refused(f"a call of {name.text if isinstance(name, Name) else 'a value'}")
        items = arguments[0] if arguments else ()
        self.spend(_OBJECT * (1 + (len(items) if type(items) in (list, tuple) else 0)))
        self.push(make(*arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(state) is tuple and isinstance(target, NumberType):
            order, *parts = state[1:5]
            if type(order) is not str or order not in "<>|=" or parts != [None] * 3:
                raise Refused("a numpy dtype with fields")
            target.dtype = np.dtype(f"{order}{target.dtype.str[1:]}")
        elif type(state) is tuple and isinstance(target, UnfilledArray) and target.array is None:
            shape, dtype, is_fortran, data = state[-4:]
            target.array = self.stack[-1] = make_array(data, dtype, shape, "CF"[bool(is_fortran)])
        else:
            raise Refused("a state for something else than an array")


def _protocol(m: Machine) -> None:
    if not 2 <= (protocol := m.read(1)[0]) <= 5:
        raise ValueError(f"a pickle of protocol {protocol}")


def _frame(m: Machine) -> None:
    if m.number("<Q", 8) > m.size - m.stream.tell():
        raise EOFError("truncated")


def _global(m: Machine) -> None:
    m.name(*(m.stream.readline(200).rstrip(b"\n").decode("utf-8") for _ in range(2)))


def _stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    m.name(module, name)


def _pair(m: Machine) -> list[Any]:
    value, key = m.stack.pop(), m.stack.pop()
    return [key, value]


STEPS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": Machine.mark,
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.number("<i", 4)),
    b"K": lambda m: m.push(m.number("<B", 1)),
    b"M": lambda m: m.push(m.number("<H", 2)),
    b"\x8a": lambda m: m.pushed_number(m.number("<B", 1)),
    b"\x8b": lambda m: m.pushed_number(m.number("<i", 4)),
    b"G": lambda m: m.push(m.number(">d", 8)),
    b"\x8c": lambda m: m.pushed_text(m.number("<B", 1)),
    b"X": lambda m: m.pushed_text(m.number("<I", 4)),
    b"\x8d": lambda m: m.pushed_text(m.number("<Q", 8)),
    b"U": lambda m: m.pushed_text(m.number("<B", 1), "latin-1"),  # Python 2
    b"T": lambda m: m.pushed_text(m.number("<i", 4), "latin-1"),
    b"C": lambda m: m.push(Data(m.data(m.number("<B", 1)))),
    b"B": lambda m: m.push(Data(m.data(m.number("<I", 4)))),
    b"\x8e": lambda m: m.push(Data(m.data(m.number("<Q", 8)))),
    b"\x96": lambda m: m.push(Data(m.data(m.number("<Q", 8)))),
    b"}": lambda m: m.pushed_container({}),
    b"]": lambda m: m.pushed_container([]),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"\x85": lambda m: m.pushed_tuple(1),
    b"\x86": lambda m: m.pushed_tuple(2),
    b"\x87": lambda m: m.pushed_tuple(3),
    b"s": lambda m: m.set_items(_pair(m)),
    b"u": lambda m: m.set_items(m.since_mark()),
    b"a": lambda m: m.append([m.stack.pop()]),
    b"e": lambda m: m.append(m.since_mark()),
    b"q": lambda m: m.remember(m.number("<B", 1)),
    b"r": lambda m: m.remember(m.number("<I", 4)),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"h": lambda m: m.recall(m.number("<B", 1)),
    b"j": lambda m: m.recall(m.number("<I", 4)),
    b"c": _global,
    b"\x93": _stack_global,
    b"R": Machine.call,
    b"b": Machine.build,
}
"""Opcode -> step: what Paddle 2 and 3 write, with numpy 1 and 2."""
Machine.steps = STEPS
