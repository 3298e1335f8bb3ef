"""What the fitnesses of a search depend on beside its genes: trials with other values of it cannot
be compared."""

from __future__ import annotations

from typing import Any, Mapping

from ppdet_lite.core.yaml import KeyPath, Tagged, dotted

WITHOUT_EFFECT = frozenset(
    [
        *("check_images", "classwise", "cpu_threads", "keep_checkpoints", "log_iter", "loggers"),
        *("offline", "output_eval", "report", "save_dir", "save_format", "use_gpu", "weights"),
        *("worker_num", "export", "TestDataset", "TestReader"),
    ]
)
"""Top-level keys that may differ between the trials of a search."""


def conditions_of(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of everything in a configuration, keys without effect left out."""
    found: dict[str, Any] = {}
    _enter(found, (), {key: cfg[key] for key in cfg if key not in WITHOUT_EFFECT})
    return found


def differences(found: Mapping[str, Any], allowed: Mapping[str, Any]) -> list[str]:
    """A text for each key that differs."""
    none = "nothing"
    keys = [*allowed, *(key for key in found if key not in allowed)]
    pairs = {key: (found.get(key, none), allowed.get(key, none)) for key in keys}
    return [
        f"{key}: found {old}, allowed to go on with: {new}"
        for key, (old, new) in pairs.items()
        if old != new
    ]


def _enter(found: dict[str, Any], path: KeyPath, value: Any) -> None:
    if isinstance(value, Tagged):
        found[f"{dotted(path)}.name"] = value.tag
    if isinstance(value, dict) and value:
        for key, each in value.items():
            _enter(found, (*path, key), each)
    elif isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value):
        for number, each in enumerate(value):
            _enter(found, (*path, number), each)
    elif not isinstance(value, Tagged):
        found[dotted(path)] = value
