"""The weights that a training on own data starts from."""

from __future__ import annotations

from ppdet_lite.core.config import Config
from ppdet_lite.weights.files import has_weight_file
from ppdet_lite.weights.zoo import entry_of, read_zoo, weights_of_config


def start_weights_line(cfg: Config, is_given: bool) -> str:
    """Returns a line about the weights a training starts from, with the published weights of the
    recipe trained on COCO as an alternative.

    Args:
        cfg: the recipe.
        is_given: the user chose `pretrain_weights`, so that no other is named.
    """
    start = cfg.settings.pretrain_weights
    entry = entry_of(start) if start and not has_weight_file(start) else None
    text = start or "random weights"
    if entry is not None and entry.config is None:
        text = f"ImageNet weights ({entry.name})"
    elif entry is not None and entry.classes == "coco":
        text, is_given = f"COCO weights ({entry.name})", True
    line = f"weights: starting from {text}"
    zoo = read_zoo()
    others = [name for name in weights_of_config(cfg.name) if zoo[name].classes == "coco"]
    if is_given or not others:
        return line
    return f"{line}; -o pretrain_weights={others[0]} starts from COCO"
