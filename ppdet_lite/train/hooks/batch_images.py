"""Training images as the network sees them, with their boxes, in files for the page of the run."""

from pathlib import Path
from typing import Sequence

from ppdet_lite.report.drawn_boxes import Mark, as_jpeg, class_mark, draw_marks
from ppdet_lite.train.hooks.curves.batch_format import BatchFormat
from ppdet_lite.utils.detection_rows import class_name
from ppdet_lite.utils.files import replacing

_COUNT, _STEPS, _SIDE = 16, 8, 420
_COLOR = (255, 214, 10)


class BatchImages:
    """The first images of a run, a JPEG each: wrong labels and wrong transforms become visible."""

    def __init__(self, batch_format: BatchFormat, class_names: Sequence[str]):
        self.batch_format, self.class_names = batch_format, class_names
        self._done = 0

    def wanted(self, iteration: int) -> bool:
        """True as long as images are missing, at the first iterations of the run."""
        return iteration <= _STEPS and self._done < _COUNT

    def draw(self, folder: Path, batches: Sequence[dict]) -> None:
        """Writes the images of a step; a DataError if that is not possible."""
        for batch in batches:
            for index in range(len(batch["image"])):
                if self._done == _COUNT:
                    return
                image, boxes = self.batch_format.image_and_boxes(batch, index)
                classes = self.batch_format.classes(batch, index)
                marks = [Mark(box, _COLOR) for box in boxes]
                if classes:  # targets of anchors take the place of the classes in many batches
                    names = [class_name(self.class_names, kind) for kind in classes]
                    marks = [class_mark(*each) for each in zip(boxes, classes, names)]
                with replacing(folder / f"{self._done:02}.jpg") as stream:
                    stream.write(as_jpeg(draw_marks(image, marks, _SIDE)))
                self._done += 1
