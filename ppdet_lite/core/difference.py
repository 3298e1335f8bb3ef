"""What one configuration says beyond another."""

from typing import Any, Mapping

from ppdet_lite.core.config import class_of
from ppdet_lite.core.yaml import Tagged


def changes_between(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `other` with other values than in `base`, so that a file with these keys and the
    base under `_BASE_` is `other`.

    Mappings are compared key by key, as they merge; lists, and sections of another class, count
    whole. A key that `other` lacks can only go with its section, and is not told.
    """
    changes: dict[str, Any] = {}
    for key, value in other.items():
        old = base.get(key)
        if key in base and _equal(old, value):
            continue
        if isinstance(old, dict) and isinstance(value, dict) and not isinstance(value, Tagged):
            classes = {class_of(old), class_of(value)} - {None}
            if len(classes) < 2:
                changes[key] = changes_between(old, value)
                continue
        changes[key] = value
    return changes


def _equal(first: Any, second: Any) -> bool:
    return bool(first == second) and type(first) is type(second)
