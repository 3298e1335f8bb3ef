"""Detections collected during evaluation: arrays only, no images."""

import json
import os
from typing import Optional, Sequence, Union

import numpy as np

from ppdet_lite.core.errors import DataError


class Detections:
    """The detections of the images evaluated so far.

    Args:
        category_ids: number of each class in COCO results, by class index.
        class_names: by class index.
        bias: added to widths and heights in COCO results.
    """

    def __init__(self, category_ids: Sequence[int], class_names: Sequence[str], bias: float = 0):
        if len(category_ids) != len(class_names):
            raise ValueError(f"{len(category_ids)} category ids, {len(class_names)} class names")
        self.category_ids = [int(number) for number in category_ids]
        self.class_names = [str(name) for name in class_names]
        self.bias = bias
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self.image_ids = {}  # keys only: the images evaluated, in their order
        self._owners, self._rows = [], []

    def add(self, im_ids: np.ndarray, bbox: np.ndarray, bbox_num: np.ndarray) -> None:
        """Takes the detections of a batch.

        Rows with class -1 (some operators' way to say "nothing found") are left out, and so are
        images that were added before, so a padded last batch does no harm.

        Args:
            im_ids: int64 [B] or [B, 1].
            bbox: float32 [M, 6]: class, score, x1, y1, x2, y2 in pixels of the original image.
            bbox_num: int32 [B], rows of each image; they follow each other in `bbox`.

        Raises:
            ValueError: the shapes do not fit, a class index is out of range, or a number is NaN.
        """
        im_ids, bbox_num = np.asarray(im_ids).reshape(-1), np.asarray(bbox_num).reshape(-1)
        bbox = np.asarray(bbox, np.float32)
        bbox = bbox.reshape(-1, 6) if bbox.size else np.zeros((0, 6), np.float32)
        if len(im_ids) != len(bbox_num) or bbox_num.sum() != len(bbox):
            raise ValueError(
                f"{len(im_ids)} image ids, bbox_num {bbox_num.tolist()}, {len(bbox)} detections"
            )
        owners = np.repeat(im_ids.astype(np.int64), bbox_num)
        is_new = np.array([int(number) not in self.image_ids for number in im_ids], bool)
        keep = np.repeat(is_new, bbox_num) & (bbox[:, 0] >= 0)
        self.image_ids.update((int(number), None) for number in im_ids)
        bbox = bbox[keep]
        if not np.isfinite(bbox).all():
            raise ValueError(f"detections with NaN or infinite numbers, images {im_ids.tolist()}")
        if len(bbox) and bbox[:, 0].max() >= len(self.class_names):
            highest = int(bbox[:, 0].max())
            raise ValueError(f"class {highest} detected, but {len(self.class_names)} classes exist")
        self._owners.append(owners[keep])
        self._rows.append(bbox)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Image id int64 [M] and row float32 [M, 6] of every detection."""
        owners = np.concatenate([np.zeros(0, np.int64), *self._owners])
        return owners, np.concatenate([np.zeros((0, 6), np.float32), *self._rows])

    def coco_results(self):
        """Yields every detection as an entry of a COCO results file: image_id, category_id, bbox
        (x, y, width, height), score.
        """
        owners, rows = self.arrays()
        rows = rows.astype(np.float64)
        rows[:, 4:6] += self.bias - rows[:, 2:4]
        # Fewer digits than float32 holds: file size without a change of any IoU or order.
        boxes, scores = rows[:, 2:6].round(5).tolist(), rows[:, 1].round(8).tolist()
        classes = rows[:, 0].astype(int).tolist()
        for owner, index, box, score in zip(owners.tolist(), classes, boxes, scores):
            yield {
                "image_id": owner,
                "category_id": self.category_ids[index],
                "bbox": box,
                "score": score,
            }

    def save_json(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes a COCO results file; it replaces an older one only when complete.

        Raises:
            DataError: it cannot be written.
        """
        partial = f"{os.fspath(path)}.partial"
        try:
            with open(partial, "w", encoding="utf-8") as stream:
                stream.write("[")
                for number, entry in enumerate(self.coco_results()):
                    stream.write(",\n" if number else "\n")
                    stream.write(json.dumps(entry))
                stream.write("\n]\n")
            os.replace(partial, path)
        except OSError as error:
            raise DataError(f"{path}: cannot write the detections: {error.strerror}") from error


class DetectionMetric:
    """What the metrics share: they collect detections and compute when asked.

    Subclasses implement `results`, which fills `_results` (name -> value), `_per_class` (rows of
    the table) and `_message` (why there is nothing to see, or "").

    Args:
        dataset: a data set with `to_coco`, or a COCO dict.
        detections: an empty collection with the classes of the data set.
        classwise: per-class lines in `table` and per-class values in `results`.
    """

    def __init__(self, dataset, detections: Detections, classwise: bool):
        self.dataset = dataset
        self.detections = detections
        self.classwise = classwise
        self.reset()

    def reset(self) -> None:
        """Forgets all detections."""
        self.detections.clear()
        self._results, self._per_class, self._message = {}, [], ""

    def update(self, im_ids: np.ndarray, bbox: np.ndarray, bbox_num: np.ndarray) -> None:
        """Takes the detections of a batch; see `Detections.add`."""
        self.detections.add(im_ids, bbox, bbox_num)

    def results(self) -> dict[str, float]:
        """Name -> value of every number."""
        raise NotImplementedError

    def save_json(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes the detections as a COCO results file."""
        self.detections.save_json(path)

    def _computed(self) -> dict:
        return self._results or self.results()

    def _truth(self) -> dict:
        """The COCO dict of the ground truth.

        Raises:
            ValueError: an evaluated image is not in it.
        """
        truth = ground_truth(self.dataset)
        known = {image["id"] for image in truth["images"]}
        unknown = [number for number in self.detections.image_ids if number not in known]
        if unknown:
            raise ValueError(f"images {unknown[:5]} were evaluated but have no ground truth")
        return truth


def ground_truth(source) -> dict:
    """The COCO dict of a data set, or the dict itself."""
    return source if isinstance(source, dict) else source.to_coco()


def classwise_table(header: Sequence[str], rows: Sequence[Sequence], width: Optional[int] = None):
    """Lines of a table: text to the left, numbers to the right; `None` and -1 print as `-`."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    widths[0] = max(widths[0], width or 0)
    lines = []
    for line in [list(header), *cells]:
        first, *others = (text for text in line)
        padded = [text.rjust(widths[i + 1]) for i, text in enumerate(others)]
        lines.append("  ".join([first.ljust(widths[0]), *padded]))
    return lines


def _cell(value) -> str:
    if value is None or (isinstance(value, float) and value < 0):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
