"""The length of a training on a small data set, and a schedule of that length."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

from ppdet_lite.core.config import Config
from ppdet_lite.core.registry import parse_spec
from ppdet_lite.core.yaml import Tagged

LARGE = 50_000
"""Images from which on a set is no small one, and keeps the schedule of the configuration."""
SHORTEST, LONGEST = 30, 300
COCO_IMAGES = 117_266
"""Images of COCO train2017 with objects, whose iterations milestones in iterations count."""
WARMUP_SHARE = 0.05
SNAPSHOTS = 10
"""Evaluations and checkpoints in the course of a training."""

_EPOCH_KEYS = {
    "PiecewiseDecay": ("milestones",),
    "CosineDecay": ("max_epochs", "last_plateau_epochs"),
    "EpochCosineDecay": ("start_epoch", "end_epoch"),
}
_LAST_EPOCHS = (
    ("TrainReader", "mixup_epoch"),
    ("TrainReader", "mosaic_epoch"),
    ("YOLOXHead", "l1_epoch"),
)


def epochs_for(images: int, recipe: int) -> int:
    """Epochs for a set of so many images: 3000 / sqrt(images) within SHORTEST and LONGEST, and
    never more than the recipe's.

    200 images are seen 212 times, 1000 images 95 times, 10,000 images 30 times: fewer images are
    seen more often, but the steps of a training still grow with the set.
    """
    if images >= LARGE:
        return recipe
    wanted = round(3000 / math.sqrt(max(images, 1)))
    return min(recipe, max(SHORTEST, min(LONGEST, wanted)))


def snapshot_interval(epochs: int) -> int:
    """Epochs between evaluations."""
    return max(1, round(epochs / SNAPSHOTS))


def fit_schedule(cfg: Config, epochs: int, steps_per_epoch: int) -> dict[str, Any]:
    """What changes in a configuration for a training of another length: milestones and ends move
    with it, the warm-up takes at most WARMUP_SHARE of it.

    Args:
        cfg: the recipe, with its own `epoch`.
        epochs, steps_per_epoch: length of the training.

    Returns:
        Sections as in a configuration; of `LearningRate` the whole list of schedulers.
    """
    recipe = cfg.settings.epoch
    changes: dict[str, Any] = {}
    section = cfg.get("LearningRate") or {}
    if schedulers := section.get("schedulers"):
        total = epochs * steps_per_epoch
        reference = section.get("reference_batch_size") or 64
        fitted = [
            _fitted(spec, epochs / recipe, epochs, total, recipe * COCO_IMAGES / reference)
            for spec in schedulers
        ]
        if fitted != schedulers:
            changes["LearningRate"] = {"schedulers": fitted}
    for name, key in _LAST_EPOCHS:
        value = (cfg.get(name) or {}).get(key)
        if isinstance(value, int) and 0 < value < recipe and epochs != recipe:
            moved = min(max(1, round(value * epochs / recipe)), max(1, epochs - 1))
            changes.setdefault(name, {})[key] = moved
    return changes


def _fitted(spec: Any, ratio: float, epochs: int, total: int, recipe_total: float) -> Any:
    """A scheduler for the new length; one that is not known here stays as it is."""
    parsed = parse_spec(spec)
    if parsed is None:
        return spec
    name, arguments = parsed.name, deepcopy(dict(parsed.arguments))
    for key in _EPOCH_KEYS.get(name, ()):
        value = arguments.get(key)
        if key == "milestones" and isinstance(value, list):
            arguments[key] = _moved([each * ratio for each in value], epochs)
        elif isinstance(value, int) and value > 0:
            least = 0 if key == "last_plateau_epochs" else 1
            arguments[key] = max(least, round(value * ratio))
    if name == "EpochCosineDecay":
        end = arguments.get("end_epoch", 270)
        arguments["start_epoch"] = min(arguments.get("start_epoch", 20), end - 1)
    if name == "IterationDecay" and isinstance(arguments.get("milestones"), list):
        places = arguments["milestones"]
        length = max(recipe_total, 1.1 * max(places, default=1))
        arguments["milestones"] = _moved([each / length * total for each in places], total)
    if isinstance(arguments.get("milestones"), list):
        _cut(arguments, len(arguments["milestones"]))
    if name in ("LinearWarmup", "ExpWarmup"):
        _shorten(arguments, total, epochs)
    return Tagged(name, arguments)


def _moved(places: list[float], end: int) -> list[int]:
    """Whole numbers near `places` that ascend and lie below `end`: the first ones, where there is
    no room for all."""
    places = places[: max(0, end - 1)]
    moved: list[int] = []
    for place in places:
        moved.append(max(round(place), moved[-1] + 1 if moved else 1))
    over = moved[-1] - (end - 1) if moved else 0
    return [max(index + 1, place - max(0, over)) for index, place in enumerate(moved)]


def _cut(arguments: dict[str, Any], milestones: int) -> None:
    """Leaves out the factors and rates behind the last of so many milestones."""
    for key, count in (("gamma", milestones), ("values", milestones + 1)):
        if isinstance(arguments.get(key), list):
            arguments[key] = arguments[key][:count]


def _shorten(arguments: dict[str, Any], total: int, epochs: int) -> None:
    """Limits a warm-up to its share of the training."""
    most = max(1, int(total * WARMUP_SHARE))
    counted = arguments.get("epochs")
    if counted is not None and arguments.get("epochs_first", True):
        share = counted / epochs
        if share > WARMUP_SHARE:
            arguments["epochs"] = round(epochs * WARMUP_SHARE, 2)
    else:
        arguments["steps"] = min(arguments.get("steps", 500), most)
