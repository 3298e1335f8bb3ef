"""The contract of a metric: what an evaluation asks of it."""

import logging
from typing import Any, Protocol, Sequence, Union

import numpy as np

from ppdet_lite.metrics.detections import Detections
from ppdet_lite.utils.files import PathLike

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

    def __init__(self, truth: Truth, *, classwise: bool = False, bias: float = 0):
        if isinstance(truth, dict):
            ids, names = ([c[key] for c in truth["categories"]] for key in ("id", "name"))
            self.detections = Detections(ids, names, bias)
        else:
            self.detections = Detections(truth.category_ids, truth.class_names, bias)
        self.classwise, self.bias = classwise, bias
        self._ground_truth = truth
        self.reset()

    def reset(self) -> None:
        """Forgets all detections."""
        self.detections.clear()
        self._results: dict[str, float] = {}
        self._per_class: Rows = []
        self._message = ""

    def update(self, im_ids: np.ndarray, bbox: np.ndarray, bbox_num: np.ndarray) -> None:
        """Takes the detections of a batch; see `Detections.add`."""
        self.detections.add(im_ids, bbox, bbox_num)

    def results(self) -> dict[str, float]:
        """Name -> value of every number, 0 to 1; with `classwise` also `bbox/AP/<class>`, -1 for a
        class without objects.

        Raises:
            ValueError: an evaluated image is not in the ground truth.
        """
        source = self._ground_truth
        truth = source if isinstance(source, dict) else source.to_coco()
        evaluated = self.detections.image_ids
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
        elif not len(self.detections.arrays()[0]):
            self._message = "nothing was detected: all numbers are 0"
        if self._message:
            _LOGGER.warning(self._message)
        return dict(self._results)

    @property
    def primary(self) -> tuple[str, float]:
        """Name and value of the number that decides which model is best."""
        return self.primary_key, self._computed()[self.primary_key]

    def table(self) -> str:
        """The numbers for printing."""
        lines = self._lines(self._computed())
        lines.insert(0, f"{self.title}, {len(self.detections.image_ids)} images")
        if self.classwise and self._per_class:
            lines += ["", *text_table([self.columns, *self._per_class])]
        return "\n".join([*lines, self._message] if self._message else lines)

    def save_json(self, path: PathLike) -> None:
        """Writes the detections as a COCO results file."""
        self.detections.save_json(path)

    def _computed(self) -> dict[str, float]:
        return self._results or self.results()

    def _compute(self, boxes: list[dict[str, Any]]) -> tuple[dict[str, float], Rows]:
        """The numbers by name, and the row of every class, of the `boxes` (COCO annotations) of
        the evaluated images.
        """
        raise NotImplementedError

    def _lines(self, values: dict[str, float]) -> list[str]:
        """The lines of `table` about the numbers."""
        raise NotImplementedError


def text_table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right; -1 prints as `-`."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return [
        "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])
        for first, *others in cells
    ]


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if value >= 0 else "-"
