"""The contract of a metric, and the detections it is computed from: arrays only, no images."""

import json
import logging
from typing import Any, Iterator, Optional, Protocol, Sequence, Union

import numpy as np

from ppdet_lite.utils.files import PathLike, replacing

_LOGGER = logging.getLogger("ppdet_lite.metrics")

CocoDict = dict[str, list[dict[str, Any]]]
"""`images`, `annotations` and `categories` as in a COCO file."""


class GroundTruth(Protocol):
    """The part of a data set that a metric needs; names and ids by class index."""

    @property
    def class_names(self) -> Sequence[str]: ...

    @property
    def category_ids(self) -> Sequence[int]: ...

    def to_coco(self) -> CocoDict:
        """All labels, with these category ids."""


Truth = Union[GroundTruth, CocoDict]
Rows = list[tuple[Any, ...]]


class DetectionMetric:
    """Collects detections and computes numbers from them when asked.

    Only images handed to `update` count. A metric is a subclass with `title`, `primary_key`,
    `columns` (of the table per class: "class", "objects", ... "AP" ...), `_compute` and `_lines`.

    Args:
        truth: a data set, or a COCO dict whose categories are the classes in their order.
        classwise: per-class lines in `table` and per-class values in `results`.
        bias: added to widths and heights of detections in COCO results.
    """

    title = ""
    primary_key = ""
    columns: tuple[str, ...] = ()
    max_detections: Optional[int] = None
    """Detections per image that count, the best ones; None for all."""
    computed_by = ""
    """The library that computes it, for a log line: " by NAME"."""

    def __init__(self, truth: Truth, *, classwise: bool = False, bias: float = 0):
        if isinstance(truth, dict):
            ids, names = ([c[key] for c in truth["categories"]] for key in ("id", "name"))
        else:
            ids, names = list(truth.category_ids), list(truth.class_names)
        self.category_ids: list[int] = ids
        self.class_names: list[str] = names
        self.classwise, self.bias = classwise, bias
        self._ground_truth = truth
        self.reset()

    def reset(self) -> None:
        """Forgets all detections."""
        self.image_ids: dict[int, None] = {}  # the images evaluated, in their order
        self._owners, self._rows = [np.zeros(0, np.int64)], [np.zeros((0, 6), np.float32)]
        self._results: dict[str, float] = {}
        self._per_class: Rows = []
        self._message = ""

    def update(self, im_ids: np.ndarray, bbox: np.ndarray, bbox_num: np.ndarray) -> None:
        """Takes the detections of a batch; a batch with an error is not taken at all.

        Rows with class -1 (some operators mark "nothing found" so) are left out, and so are images
        that were added before, in this batch or an earlier one: a padded last batch does no harm.

        Args:
            im_ids: int64 [B] or [B, 1].
            bbox: float32 [M, 6]: class, score, x1, y1, x2, y2 in pixels of the original image.
            bbox_num: int32 [B], rows of each image; they follow each other in `bbox`.

        Raises:
            ValueError: the shapes do not fit, a class is none of the indices, or a number is NaN.
        """
        im_ids, bbox_num = np.asarray(im_ids).reshape(-1), np.asarray(bbox_num).reshape(-1)
        bbox = np.asarray(bbox, np.float32)
        bbox = bbox.reshape(-1, 6) if bbox.size else np.zeros((0, 6), np.float32)
        if len(im_ids) != len(bbox_num) or bbox_num.sum() != len(bbox):
            raise ValueError(
                f"{len(im_ids)} image ids, bbox_num {bbox_num.tolist()}, {len(bbox)} detections"
            )
        im_ids, is_new = im_ids.astype(np.int64), np.zeros(len(im_ids), bool)
        is_new[np.unique(im_ids, return_index=True)[1]] = True
        is_new &= np.array([number not in self.image_ids for number in im_ids.tolist()], bool)
        is_row = bbox[:, 0] != -1
        classes, owners = bbox[is_row, 0], np.repeat(im_ids, bbox_num)
        if not np.isfinite(bbox[is_row]).all():
            raise ValueError(f"detections with NaN or infinite numbers, images {im_ids.tolist()}")
        known = np.arange(len(self.class_names))
        if unknown := sorted({*classes.tolist()} - {*known.tolist()}):
            raise ValueError(f"class {unknown[0]:g} detected, but {len(known)} classes exist")
        keep = np.repeat(is_new, bbox_num) & is_row
        self.image_ids.update(dict.fromkeys(im_ids.tolist()))
        self._owners.append(owners[keep])
        self._rows.append(bbox[keep])
        self._results = {}  # those of fewer images

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Image id int64 [M] and row float32 [M, 6] of every detection."""
        return np.concatenate(self._owners), np.concatenate(self._rows)

    def coco_results(self, classes: Optional[Sequence[int]] = None) -> Iterator[dict[str, Any]]:
        """Every detection, or those of some class indices, as image_id, category_id, bbox (x, y,
        width, height), score.
        """
        owners, rows = self.arrays()
        if classes is not None:
            chosen = np.isin(rows[:, 0], classes)
            owners, rows = owners[chosen], rows[chosen]
        rows = rows.astype(np.float64)
        rows[:, 4:6] += self.bias - rows[:, 2:4]
        # Fewer digits than float32 holds: file size without a change of any IoU or order.
        boxes, scores = rows[:, 2:6].round(5).tolist(), rows[:, 1].round(8).tolist()
        categories = np.array(self.category_ids, np.int64)[rows[:, 0].astype(int)].tolist()
        for owner, category, box, score in zip(owners.tolist(), categories, boxes, scores):
            yield {"image_id": owner, "category_id": category, "bbox": box, "score": score}

    def save_json(self, path: PathLike) -> None:
        """Writes the detections as a COCO results file; DataError if it cannot be written."""
        with replacing(path) as stream:
            stream.write(b"[")
            for number, entry in enumerate(self.coco_results()):
                stream.write(f"{',' if number else ''}\n{json.dumps(entry)}".encode())
            stream.write(b"\n]\n")

    def results(self) -> dict[str, float]:
        """Name -> value of every number, 0 to 1; with `classwise` also `bbox/AP/<class>`, -1 for a
        class without objects.

        Raises:
            ValueError: an evaluated image is not in the ground truth.
        """
        source, evaluated = self._ground_truth, self.image_ids
        truth = source if isinstance(source, dict) else source.to_coco()
        unknown = [*evaluated.keys() - {image["id"] for image in truth["images"]}]
        if unknown:
            raise ValueError(f"images {unknown[:5]} were evaluated but have no ground truth")
        boxes = [item for item in truth["annotations"] if item["image_id"] in evaluated]
        self._results, self._per_class = self._compute(boxes)
        if self.classwise:
            average = self.columns.index("AP")
            self._results.update({f"bbox/AP/{row[0]}": row[average] for row in self._per_class})
        self._message = ""
        if not evaluated:
            self._message = "no image was evaluated: all numbers are 0"
        elif not any(count for _, count, *_ in self._per_class):
            self._message = "the evaluated images have no labeled object: nothing to measure"
        elif not any(map(len, self._owners)):
            self._message = "nothing was detected: all numbers are 0"
        if self._message:
            _LOGGER.warning(self._message)
        return dict(self._results)

    @property
    def primary(self) -> tuple[str, float]:
        """Name and value of the number that decides which model is best."""
        return self.primary_key, (self._results or self.results())[self.primary_key]

    def summary(self) -> str:
        """The most important numbers in a few lines, and the table per class with `classwise`. What
        is odd about them is in the log already.
        """
        lines = self._summary_lines(self._results or self.results())
        lines[0] = f"{self.title}, {len(self.image_ids)} images: {lines[0]}"
        if self.classwise and self._per_class:
            lines += ["", *text_table([self.columns, *self._per_class])]
        return "\n".join(lines)

    def table(self) -> str:
        """All numbers for printing."""
        lines = self._lines(self._results or self.results())
        lines.insert(0, f"{self.title}, {len(self.image_ids)} images")
        if self.classwise and self._per_class:
            lines += ["", *text_table([self.columns, *self._per_class])]
        return "\n".join([*lines, self._message] if self._message else lines)

    def _compute(self, boxes: list[dict[str, Any]]) -> tuple[dict[str, float], Rows]:
        """The numbers by name, and the row of every class, of the `boxes` (COCO annotations) of
        the evaluated images.
        """
        raise NotImplementedError

    def _lines(self, values: dict[str, float]) -> list[str]:
        """The lines of `table` about the numbers."""
        raise NotImplementedError

    def _summary_lines(self, values: dict[str, float]) -> list[str]:
        """The lines of `summary` about the numbers."""
        return self._lines(values)


def text_table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right; -1 prints as `-`."""
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return [
        "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])
        for first, *others in cells
    ]


def cell(value: Any) -> str:
    """A number with three decimals, `-` for -1; others as they are."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if value >= 0 else "-"
