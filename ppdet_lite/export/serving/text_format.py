"""Messages of protobuf in their text form."""

from typing import Any, Iterator, Union

Message = dict[str, Any]
"""Fields by name: numbers, `Name` for enumerations, text, messages, and lists of them."""

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Name(str):
    """A value of an enumeration."""


def text_format(message: Message) -> str:
    """The text of a message, a field a line; an empty list is a field that is not there."""
    return "\n".join(_lines(message)) + "\n"


def _lines(message: Message, indent: str = "") -> Iterator[str]:
    for key, value in message.items():
        for one in value if isinstance(value, list) and _is_repeated(value) else [value]:
            if isinstance(one, dict):
                yield f"{indent}{key} {{"
                yield from _lines(one, indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{key}: {_scalar(one)}"


def _is_repeated(value: list) -> bool:
    """True for messages, which stand one by one; numbers stand in a list."""
    return not value or isinstance(value[0], dict)


def _scalar(value: Union[str, int, list]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    if isinstance(value, Name) or not isinstance(value, str):
        return str(value)
    escaped = "".join(
        _ESCAPES.get(letter) or (letter if letter.isprintable() else f"\\{ord(letter):03o}")
        for letter in value
    )
    return f'"{escaped}"'
