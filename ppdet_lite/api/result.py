"""The detections of one image, and those of many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Sequence, Union

import numpy as np

from ppdet_lite.core.errors import ConfigError, require
from ppdet_lite.utils.detection_rows import class_name, coco_records, detection_records

PathLike = Union[str, Path]
SAVED_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".json")
"""Of the files that `Result.save` writes."""


@dataclass
class Result:
    """The detections on one image, the highest score first; rows of all arrays belong together.

    Attributes:
        boxes_xyxy: float32 [M, 4], x1, y1, x2, y2 in pixels of the image.
        scores: float32 [M].
        class_ids: int64 [M].
        names: class name of each detection.
        class_names: of the model, by class index.
        category_ids: of the model, by class index; None where the class index is the category.
        source: path of the image, `path#7` for a frame of a video, or `image 0` for an array.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    names: list[str]
    class_names: Sequence[str]
    category_ids: Optional[Sequence[int]]
    source: str
    _open: Callable[[], np.ndarray]

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        class_names: Sequence[str],
        category_ids: Optional[Sequence[int]],
        source: str,
        open_image: Callable[[], np.ndarray],
    ) -> Result:
        """From rows [M, 6] of class index, score, x1, y1, x2, y2."""
        ids = rows[:, 0].astype(np.int64)
        names = [class_name(class_names, int(index)) for index in ids]
        boxes, scores = rows[:, 2:].astype(np.float32), rows[:, 1].astype(np.float32)
        return cls(boxes, scores, ids, names, class_names, category_ids, source, open_image)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def image(self) -> np.ndarray:
        """The image, uint8 [H, W, 3] RGB; read again where it came from a file."""
        return self._open()

    @property
    def rows(self) -> np.ndarray:
        """float64 [M, 6]: class index, score, x1, y1, x2, y2."""
        return np.column_stack([self.class_ids, self.scores, self.boxes_xyxy]).reshape(-1, 6)

    def plot(self) -> np.ndarray:
        """A copy of the image with boxes and labels, uint8 [H, W, 3] RGB."""
        from ppdet_lite.utils.drawing import draw_detections

        return draw_detections(self.image, self.rows, self.class_names, 0.0)

    def save(self, path: PathLike) -> Path:
        """Writes the image with its boxes, or the detections if the path ends with .json.

        Raises:
            UserError: the path ends otherwise, or cannot be written.
        """
        from ppdet_lite.utils.files import write_image, write_json

        path = Path(path)
        if path.suffix.lower() not in SAVED_SUFFIXES:
            allowed = ", ".join(SAVED_SUFFIXES)
            raise ConfigError(f"`path`: found {path}, allowed: a file ending with {allowed}")
        if path.suffix.lower() == ".json":
            found = detection_records(self.rows, self.class_names)
            write_json(path, {"image": self.source, "detections": found})
        else:
            write_image(path, self.plot())
        return path

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """Records of the COCO results format."""
        return coco_records(self.rows, image_id, self.source, category_ids=self.category_ids)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each detection; needs pandas."""
        pandas = require("pandas", "to_pandas")
        columns: dict[str, Any] = {"source": [self.source] * len(self), "name": self.names}
        columns.update(class_id=self.class_ids, score=self.scores)
        columns.update(
            {key: self.boxes_xyxy[:, i] for i, key in enumerate(("x1", "y1", "x2", "y2"))}
        )
        return pandas.DataFrame(columns)

    def to_supervision(self) -> Any:
        """`supervision.Detections`, with the names in `data["class_name"]`; needs supervision."""
        supervision = require("supervision", "to_supervision")
        return supervision.Detections(
            xyxy=self.boxes_xyxy,
            confidence=self.scores,
            class_id=self.class_ids,
            data={"class_name": np.array(self.names, dtype=str)},
        )
