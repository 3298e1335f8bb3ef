"""Gt2YoloTarget: the target of each cell for the YOLOv3 loss (Redmon and Farhadi, YOLOv3)."""

from typing import Any, NamedTuple, Optional, Sequence

import numpy as np

from ppdet_lite.core.annotations import shown
from ppdet_lite.core.build import value_of
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.memory import RecycledArrays
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, Transform, image_size
from ppdet_lite.ops.boxes_np import wh_iou_matrix


class _Events(NamedTuple):
    """Assignments [E] of an object to an anchor (over all levels), in the order of `order` within
    an image: an object's best anchor comes first.
    """

    image: np.ndarray
    obj: np.ndarray
    anchor: np.ndarray
    order: np.ndarray
    is_best: np.ndarray

    def pick(self, index: np.ndarray) -> "_Events":
        return _Events(*(column[index] for column in self))


@register
class Gt2YoloTarget(Transform):
    """Adds `target0`, `target1`, ... (stride 32 first), float32 [A, 6 + C, H, W] per image.

    Channels: x and y offset in the cell, ln(width / anchor), ln(height / anchor), 2 - w * h (the
    weight of small boxes), objectness = gt_score, then one-hot classes. The object goes to the
    anchor whose shape overlaps best, at the level that owns it. A later object in the same cell and
    anchor overwrites the box, while the class bit of the earlier one stays. Objects of zero width,
    height or score are skipped; a center on the right or bottom border belongs to the last cell.
    `gt_class` and `gt_score` leave the sample.

    Args:
        anchors: [[w, h], ...] in pixels of the network input; taken from the head when left out.
        anchor_masks: per level the indices of its anchors; taken from the head when left out.
        downsample_ratios: stride per level; 32, 16, 8, ... when left out.
        iou_thresh: below 1, other anchors of a level with a larger shape overlap become positive
            too where the cell is still empty.

    Raises:
        ConfigError: anchors or masks that are given here differ from those of the head.
    """

    keeps_size = True
    whole_batch = True
    takes_boxes = ("fractions", "centers", "padded")
    makes_boxes = "targets"
    __shared__ = ("num_classes",)

    def __init__(
        self,
        anchors: Optional[Sequence[kinds.Anchor]] = None,
        anchor_masks: Optional[Sequence[Sequence[int]]] = None,
        downsample_ratios: Optional[Sequence[kinds.Count]] = None,
        num_classes: kinds.Count = 80,
        iou_thresh: kinds.Probability = 1.0,
    ):
        if anchors is None or anchor_masks is None:
            raise ConfigError("anchors and anchor_masks are needed outside of a configuration")
        self.anchors = np.asarray(anchors, np.float64).reshape(-1, 2)
        self.anchor_masks = tuple(tuple(int(i) for i in mask) for mask in anchor_masks)
        wrong = [i for i in _flat(self.anchor_masks) if not 0 <= i < len(self.anchors)]
        if wrong or not self.anchor_masks or not all(self.anchor_masks):
            raise ConfigError(
                f"anchor_masks: found {shown(anchor_masks)}, allowed: per level the indices of "
                f"some of the {len(self.anchors)} anchors"
            )
        if downsample_ratios is None:
            downsample_ratios = [32 >> level for level in range(len(self.anchor_masks))]
        self.downsample_ratios = tuple(int(ratio) for ratio in downsample_ratios)
        if len(self.downsample_ratios) != len(self.anchor_masks):
            raise ConfigError(
                f"downsample_ratios: found {len(self.downsample_ratios)} values, allowed: one per "
                f"level of anchor_masks ({len(self.anchor_masks)})"
            )
        self.num_classes = num_classes
        self.iou_thresh = iou_thresh

    @classmethod
    def from_config(cls, section: Any) -> dict[str, Any]:
        cfg = section.config
        head = value_of(cfg, cfg.settings.architecture, "yolo_head") or "YOLOv3Head"
        head = head if isinstance(head, str) else head.get("name", next(iter(head)))
        settled, problems = {}, []
        for key in ("anchors", "anchor_masks"):
            own, of_head = section.get(key), value_of(cfg, head, key)
            settled[key] = of_head if own is None else own
            if own is not None and _flat(own) != _flat(of_head):
                problems.append(
                    f"{key}: found {shown(own)}, but {head}.{key} is "
                    f"{np.asarray(of_head).tolist()}; leave it out here (it is taken from {head}) "
                    "or make both equal"
                )
        own, of_model = section.get("num_classes"), cfg.get("num_classes")
        if own is not None and of_model is not None and own != of_model:
            problems.append(
                f"num_classes: found {own}, but the top-level num_classes is {of_model}; leave it "
                "out here"
            )
        if problems:
            raise ConfigError(problems)
        return settled

    def apply(self, samples: list[Sample], context: Context) -> list[Sample]:
        """A list of samples with padded boxes (NormalizeBox, PadBox, BboxXYXY2XYWH done)."""
        results = []
        for sample in samples:
            truth = {key: sample[key][None] for key in ("gt_bbox", "gt_class", "gt_score")}
            self.finish(truth, image_size(sample), RecycledArrays())
            result = {k: v for k, v in sample.items() if k not in ("gt_class", "gt_score")}
            results.append({**result, **{key: array[0] for key, array in truth.items()}})
        return results

    def defers_to_batch(self, later: Sequence[Transform]) -> bool:
        return all(step.defers_to_batch(()) for step in later)

    def finish(self, batch: dict[str, Any], size_hw: SizeHW, memory: RecycledArrays) -> None:
        if "gt_bbox" not in batch:
            return
        truth = batch["gt_bbox"], batch.pop("gt_class"), batch.pop("gt_score")
        for level, target in enumerate(self.targets(*truth, size_hw, memory)):
            batch[f"target{level}"] = target

    def targets(
        self,
        gt_bbox: np.ndarray,
        gt_class: np.ndarray,
        gt_score: np.ndarray,
        size_hw: SizeHW,
        memory: Optional[RecycledArrays] = None,
    ) -> list[np.ndarray]:
        """One float32 array [B, A, 6 + C, H, W] per level, from `memory` if given.

        Args:
            gt_bbox: [B, P, 4] center x, y, width, height as fractions of the network input.
            gt_class, gt_score: [B, P] or [B, P, 1].
            size_hw: size of the network input in pixels.
        """
        memory = memory or RecycledArrays()
        if min(size_hw) < max(self.downsample_ratios):
            raise ConfigError(
                f"Gt2YoloTarget.downsample_ratios: found {list(self.downsample_ratios)}, allowed: "
                f"none above the sides of the images, here {list(size_hw)}"
            )
        batch, count = gt_bbox.shape[:2]
        boxes_cxcywh = gt_bbox.astype(np.float64)
        truth = boxes_cxcywh, gt_class.reshape(batch, count), gt_score.reshape(batch, count)
        events = self._events(boxes_cxcywh, truth[2], size_hw)
        results = []
        for level, (mask, stride) in enumerate(zip(self.anchor_masks, self.downsample_ratios)):
            grid_hw = (size_hw[0] // stride, size_hw[1] // stride)
            shape = (batch, len(mask), 6 + self.num_classes, *grid_hw)
            own = events.pick(np.isin(events.anchor, mask))
            positions, values = self._values(shape, own, mask, truth, size_hw)
            results.append(memory.sparse(f"target{level}", shape, positions, values))
        return results

    def _events(self, boxes_cxcywh: np.ndarray, scores: np.ndarray, size_hw: SizeHW) -> _Events:
        """All assignments, ordered by image and time."""
        valid = (boxes_cxcywh[..., 2] > 0) & (boxes_cxcywh[..., 3] > 0) & (scores > 0)
        image, obj = np.nonzero(valid)
        overlap = wh_iou_matrix(boxes_cxcywh[image, obj, 2:], self.anchors / size_hw[::-1])
        best = overlap.argmax(axis=1) if len(overlap) else np.zeros(0, np.int64)
        steps = len(self.anchors) + 1  # time steps of one object
        events = _Events(image, obj, best, obj * steps, np.ones(len(obj), bool))
        if self.iou_thresh < 1 and len(overlap):
            extra = overlap > self.iou_thresh
            extra[np.arange(len(best)), best] = False
            row, anchor = np.nonzero(extra)
            order = obj[row] * steps + 1 + anchor
            more = _Events(image[row], obj[row], anchor, order, np.zeros(len(row), bool))
            events = _Events(*(np.concatenate(columns) for columns in zip(events, more)))
        return events.pick(np.lexsort((events.order, events.image)))

    def _values(
        self,
        shape: tuple[int, ...],
        events: _Events,
        mask: tuple[int, ...],
        truth: tuple[np.ndarray, np.ndarray, np.ndarray],
        size_hw: SizeHW,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Flat positions [K] and values [K] other than zero in a level's target of `shape`."""
        boxes_cxcywh, labels, scores = truth
        grid_h, grid_w = shape[-2:]
        x_grid = boxes_cxcywh[events.image, events.obj, 0] * grid_w
        y_grid = boxes_cxcywh[events.image, events.obj, 1] * grid_h
        # A center on the far border belongs to the last cell; PaddleDetection fails there.
        column = np.clip(x_grid.astype(np.int64), 0, grid_w - 1)
        row = np.clip(y_grid.astype(np.int64), 0, grid_h - 1)
        slot = np.array([mask.index(a) if a in mask else -1 for a in range(len(self.anchors))])
        # Position of channel 0 of each event's cell; channels are `grid_h * grid_w` apart.
        place = (events.image, slot[events.anchor], 0 * row, row, column)
        cell = np.ravel_multi_index(place, shape)
        # An additional anchor only counts where nothing has been written before it.
        first = np.zeros(len(cell), bool)
        first[np.unique(cell, return_index=True)[1]] = True
        written = events.is_best | first
        # The last write to a cell decides about its box.
        last = np.zeros(len(cell), bool)
        order = np.flatnonzero(written)
        last[order[len(order) - 1 - np.unique(cell[order][::-1], return_index=True)[1]]] = True

        sizes = boxes_cxcywh[events.image, events.obj, 2:]
        width, height = sizes.T
        log_size = np.log(sizes * size_hw[::-1] / self.anchors[events.anchor])
        weight, score = 2.0 - width * height, scores[events.image, events.obj]
        columns = [x_grid - column, y_grid - row, *log_size.T, weight, score]
        values = np.stack(columns, axis=1)
        box_channels = cell[last, None] + np.arange(6) * (grid_h * grid_w)
        classes = labels[events.image, events.obj]
        class_channels = (cell + (6 + classes) * (grid_h * grid_w))[written]
        return (
            np.concatenate([box_channels.ravel(), class_channels]),
            np.concatenate([values[last].ravel(), np.ones(len(class_channels))]),
        )


def _flat(values: Any) -> list[Any]:
    """The numbers of nested lists."""
    nested = isinstance(values, (list, tuple))
    return [number for part in values for number in _flat(part)] if nested else [values]
