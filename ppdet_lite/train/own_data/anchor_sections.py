"""The places of a configuration that hold anchors: the head, and targets of the reader."""

from copy import deepcopy
from typing import Any, NamedTuple, Optional, Sequence

import numpy as np

from ppdet_lite.core.build import resolve, value_of
from ppdet_lite.core.config import Config
from ppdet_lite.core.dump import dump_yaml
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import parameters_of
from ppdet_lite.core.workspace import create
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.reader.readers import Reader
from ppdet_lite.data.transforms.pad import CornerLetterbox
from ppdet_lite.data.transforms.yolo_targets import Gt2YoloTarget
from ppdet_lite.modeling.heads.guided_anchor_head import ANCHOR_SETS

Masks = list[list[int]]
_PER_LINE = 3
_LISTS = ("sample_transforms", "batch_transforms")


class AnchorSettings(NamedTuple):
    """The anchors of a configuration.

    Attributes:
        head: the section of the head that has them.
        anchors: width and height [A, 2] in pixels of the network input.
        masks: the indices of the anchors of each level.
        threshold: overlap of shapes above which an object has an anchor; None where it has the best
            one only.
        threshold_key: the key that sets it.
    """

    head: str
    anchors: np.ndarray
    masks: Masks
    threshold: Optional[float]
    threshold_key: str


def anchor_settings(cfg: Config) -> AnchorSettings:
    """The anchors of the detector that a configuration describes.

    Raises:
        ConfigError: it has none.
    """
    head, spec = _head(cfg)
    anchors = value_of(cfg, head, "anchors")
    masks = [list(mask) for mask in value_of(cfg, head, "anchor_masks")]
    if isinstance(anchors, str):
        anchors = ANCHOR_SETS[anchors]
    threshold, key = _threshold(cfg, spec)
    values = np.asarray(anchors, np.float64).reshape(-1, 2)
    return AnchorSettings(head, values, masks, threshold, key)


def _head(cfg: Config) -> tuple[str, Any]:
    architecture = cfg.settings.architecture
    for parameter in ("yolo_head", "head"):
        if parameter in parameters_of(resolve(architecture, cfg)[0]):
            spec = value_of(cfg, architecture, parameter)
            head = resolve(spec, cfg)[0]
            if "anchors" in parameters_of(head):
                return head.__name__, spec
    raise ConfigError(f"architecture: found {architecture}, allowed: one whose head has anchors")


def _threshold(cfg: Config, head: Any) -> tuple[Optional[float], str]:
    for step in create("TrainReader", cfg).batch_transforms if cfg.get("TrainReader") else ():
        if isinstance(step, Gt2YoloTarget):
            threshold, key = step.iou_thresh, "Gt2YoloTarget.iou_thresh"
            return (threshold if threshold < 1 else None), key
    arguments = resolve(head, cfg)[1]
    loss = arguments.get("loss")
    if isinstance(loss, str) and "iou_thresh" in parameters_of(resolve(loss, cfg)[0]):
        threshold = float(value_of(cfg, loss, "iou_thresh"))
        return (threshold if threshold < 1 else None), f"{loss}.iou_thresh"
    return None, ""


def input_of(cfg: Config, size_hw: Optional[SizeHW] = None) -> tuple[SizeHW, bool]:
    """Height and width of the network input in the evaluation (or `size_hw`), and True if images
    are fitted into it with their own shape.

    Raises:
        ConfigError: no reader states one size.
    """
    found, fits = size_hw, False
    for name in ("TestReader", "EvalReader"):
        if not cfg.get(name):
            continue
        reader: Reader = create(name, cfg)
        fits = any(
            getattr(step, "keep_ratio", False) or isinstance(step, CornerLetterbox)
            for step in reader.sample_transforms
        )
        sizes = reader.input_sizes()[1]
        shape = [*(reader.inputs_def.get("image_shape") or ())][-2:]
        is_stated = len(shape) == 2 and all(isinstance(side, int) and side > 0 for side in shape)
        if size_hw is None and (sizes or is_stated):
            found = max(sizes) if sizes else (shape[0], shape[1])
    if found is None:
        raise ConfigError("`size`: missing, neither EvalReader nor TestReader states one size")
    return found, fits


def masks_for(count: int, now: Optional[AnchorSettings] = None) -> Masks:
    """The indices of `count` anchors, sorted by area, on each level, in the order of the levels of
    `now`; by default three levels, coarsest first.

    Raises:
        ConfigError: they cannot be shared out evenly.
    """
    levels = len(now.masks) if now else 3
    if count < levels or count % levels:
        raise ConfigError(
            f"`count`: found {count}, allowed: a multiple of the {levels} levels of the head"
        )
    each = count // levels
    masks = [list(range(level * each, (level + 1) * each)) for level in range(levels)]
    finest_first = now is not None and max(now.masks[0]) < max(now.masks[-1])
    return masks if finest_first else masks[::-1]


def anchors_yaml(
    head: str, anchors: Sequence[Sequence[int]], masks: Masks, cfg: Optional[Config] = None
) -> str:
    """The sections with anchors as YAML: that of the head, and lists of readers that state them."""
    shown = [f"[{width}, {height}]" for width, height in anchors]
    starts = range(0, len(shown), _PER_LINE)
    lines = (",\n" + " " * 12).join(", ".join(shown[i : i + _PER_LINE]) for i in starts)
    text = f"{head}:\n  anchors: [{lines}]\n  anchor_masks: {masks}\n"
    readers = _reader_lists(cfg, [[*anchor] for anchor in anchors], masks) if cfg else {}
    if readers:
        text += "\n# Lists are replaced whole: these take the place of those of the reader.\n"
        text += dump_yaml(readers)
    return text


def _reader_lists(cfg: Config, anchors: list[list[int]], masks: Masks) -> dict[str, Any]:
    """Reader -> its lists of transforms that state anchors, with the new ones."""
    found: dict[str, Any] = {}
    new = {"anchors": anchors, "anchor_masks": masks}
    for name, section in cfg.items():
        for key in _LISTS if name.endswith("Reader") and isinstance(section, dict) else ():
            steps = deepcopy(section.get(key)) or []
            stated = [
                arguments
                for step in steps
                if isinstance(step, dict)
                for arguments in step.values()
                if isinstance(arguments, dict) and set(new) & set(arguments)
            ]
            for arguments in stated:
                arguments.update({k: v for k, v in new.items() if arguments.get(k) is not None})
            if stated:
                found.setdefault(name, {})[key] = steps
    return found
