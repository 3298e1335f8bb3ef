"""Detections collected during evaluation: arrays only, no images."""

import json
from typing import Any, Iterator, Sequence

import numpy as np

from ppdet_lite.utils.files import PathLike, replacing


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
        self.image_ids: dict[int, None] = {}  # the images evaluated, in their order
        self._owners, self._rows = [np.zeros(0, np.int64)], [np.zeros((0, 6), np.float32)]

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
        return np.concatenate(self._owners), np.concatenate(self._rows)

    def coco_results(self) -> Iterator[dict[str, Any]]:
        """Every detection as image_id, category_id, bbox (x, y, width, height), score."""
        owners, rows = self.arrays()
        rows = rows.astype(np.float64)
        rows[:, 4:6] += self.bias - rows[:, 2:4]
        # Fewer digits than float32 holds: file size without a change of any IoU or order.
        boxes, scores = rows[:, 2:6].round(5).tolist(), rows[:, 1].round(8).tolist()
        categories = np.array(self.category_ids, np.int64)[rows[:, 0].astype(int)].tolist()
        for owner, category, box, score in zip(owners.tolist(), categories, boxes, scores):
            yield {"image_id": owner, "category_id": category, "bbox": box, "score": score}

    def save_json(self, path: PathLike) -> None:
        """Writes a COCO results file; DataError if it cannot be written."""
        with replacing(path) as stream:
            stream.write(b"[")
            for number, entry in enumerate(self.coco_results()):
                stream.write(f"{',' if number else ''}\n{json.dumps(entry)}".encode())
            stream.write(b"\n]\n")
