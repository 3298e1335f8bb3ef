"""Damage that many kinds share, chosen by a random generator alone."""

from __future__ import annotations

import copy
import random
from typing import Any

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 0.5, -0.5, 1e-320, 1e308, -1e308),
    *(2**31, -(2**31), 2**63, -(2**63), 2**64, 10**400),
    *(float("nan"), float("inf"), -float("inf")),
    *(
        "",
        " ",
        "x",
        "1",
        "no",
        "null",
        "nan",
        "\0",
        "\ud800",
        "é",
        "/etc/passwd",
        "../x",
        "a" * 5000,
    ),
    *([], {}, [[]], [None], [0], ["a", "b"], [1, 2, 3, 4], [float("nan")] * 4, [1e300] * 4),
    *({"a": 1}, {"id": 1}, [[1, 2, 3, 4, 5, 6]]),
]


def damage_value(rnd: random.Random, value: Any, values: list[Any] = VALUES) -> tuple[Any, str]:
    """A copy of nested lists and dicts with 1 to 3 entries replaced, removed, doubled, nested or
    swapped, and the label of the damage."""
    root = {"": copy.deepcopy(value)}
    labels = []
    for _ in range(rnd.choice([1, 1, 1, 2, 3])):
        parent, key, path = rnd.choice(list(_places(root)))
        kind = rnd.choice(["set", "set", "set", "set", "remove", "double", "nest", "swap"])
        if kind == "set" or parent is root:
            parent[key] = copy.deepcopy(rnd.choice(values))
        elif kind == "remove":
            del parent[key]
        elif kind == "double" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        elif kind == "nest":
            parent[key] = [parent[key]]
        else:
            other, there, _ = rnd.choice(list(_places(root))[1:] or [(parent, key, path)])
            mine = copy.deepcopy(parent[key])
            parent[key], other[there] = copy.deepcopy(other[there]), mine
        labels.append(f"{kind} {path}")
        if not isinstance(root[""], (dict, list)) or not root[""]:
            break
    return root[""], ", ".join(labels)


def _places(root: dict[str, Any]) -> Any:
    """(container, key, path) of every value; of long lists, the first entries."""
    stack: list[tuple[Any, Any, str]] = [(root, "", "")]
    while stack:
        parent, key, path = stack.pop()
        yield parent, key, path or "all"
        value = parent[key]
        keys = (
            list(value)
            if isinstance(value, dict)
            else range(len(value))[:4]
            if isinstance(value, list)
            else ()
        )
        stack += [(value, name, f"{path}.{name}"[:80]) for name in keys]


def damage_bytes(
    rnd: random.Random, data: bytes, inserts: tuple[bytes, ...] = ()
) -> tuple[bytes, str]:
    """A copy of bytes with some flipped, cut, removed, repeated or inserted, and
    the label of the damage."""
    kind = rnd.choice(["flip", "flip", "cut", "remove", "repeat", "insert", "zero"])
    made, at = bytearray(data), rnd.randrange(len(data) + 1)
    length = rnd.choice([1, 4, 16, 200])
    if kind == "flip":
        for _ in range(rnd.choice([1, 1, 5, 50])):
            made[rnd.randrange(len(made))] ^= 1 << rnd.randrange(8)
    elif kind == "cut":
        del made[at:]
    elif kind == "remove":
        del made[at : at + length]
    elif kind == "repeat":
        made[at:at] = made[at : at + length] * rnd.choice([1, 2, 100])
    elif kind == "zero":
        made[at : at + length] = bytes(len(made[at : at + length]))
    else:
        common = (b"\0", b"\xff\xfe", b"9" * 5000, b"-", b"nan", b"\n", b'"', b"\x80")
        made[at:at] = rnd.choice([*inserts, *common])
    return bytes(made), f"{kind} at {at}"
