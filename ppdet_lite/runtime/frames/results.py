"""Results of frames: a video with the boxes, a line of JSON per frame, COCO results."""

import contextlib
import json
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence, TextIO, Union

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.runtime.frames.sources import Frame, FrameSource
from ppdet_lite.utils.detect_files import ALL_RESULTS, ResultOptions
from ppdet_lite.utils.detection_rows import (
    RESULTS_FILE,
    Threshold,
    class_ids_of,
    coco_records,
    detection_records,
    rows_of_classes,
)
from ppdet_lite.utils.drawing import draw_detections
from ppdet_lite.utils.files import check_utf8, lock_file, write_json

MOST_FRAMES_OFF = 1
"""Allowed difference of the video to the time of a live source, whose intervals are uneven."""


class VideoFile:
    """A video that is written frame by frame; `stem` is its path without ending.

    MPEG-4 in .mp4, else Motion JPEG in .avi. FFmpeg writes even sizes only, so a video with an odd
    side is Motion JPEG by OpenCV's own writer, which knows whole frame rates only; with a broken
    rate the odd side gets one more pixel instead.
    """

    def __init__(self, stem: Path, fps: float):
        check_utf8(stem, "OpenCV's writer of videos")
        self.stem, self.fps = stem, fps
        self.path: Optional[Path] = None
        self._writer: Optional[cv2.VideoWriter] = None
        self._size_hw = (0, 0)
        self._count = 0

    def write(self, image_rgb: np.ndarray) -> None:
        """Appends uint8 RGB; all frames have the size of the first."""
        height, width = image_rgb.shape[:2]
        if self._writer is None:
            self._writer = self._open(height, width)
        below, right = self._size_hw[0] - height, self._size_hw[1] - width
        if not (0 <= below <= 1 and 0 <= right <= 1):
            raise DataError(f"{self.path}: the size of the frames changed on the way")
        if below or right:
            image_rgb = cv2.copyMakeBorder(image_rgb, 0, below, 0, right, cv2.BORDER_REPLICATE)
        self._writer.write(np.ascontiguousarray(image_rgb[:, :, ::-1]))
        self._count += 1

    def close(self) -> None:
        """Finishes the file; without this it cannot be played.

        Raises:
            DataError: it is not whole; OpenCV does not report a full disk.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        written = cv2.VideoCapture(str(self.path))
        frames = written.get(cv2.CAP_PROP_FRAME_COUNT) if written.isOpened() else 0
        written.release()
        if frames < self._count - 1:
            raise DataError(f"{self.path}: the video is not whole; is the disk full?")

    def _open(self, height: int, width: int) -> cv2.VideoWriter:
        ways = [("mp4v", ".mp4", cv2.CAP_ANY), ("MJPG", ".avi", cv2.CAP_ANY)]
        if (height % 2 or width % 2) and self.fps == int(self.fps):
            ways = [("MJPG", ".avi", cv2.CAP_OPENCV_MJPEG)]
        else:
            height, width = height + height % 2, width + width % 2
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        for codec, suffix, backend in ways:
            path = self.stem.with_name(self.stem.name + suffix)
            code = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), backend, code, self.fps, (width, height))
            if writer.isOpened():
                self.path, self._size_hw = path, (height, width)
                return writer
            writer.release()
        names = " and ".join(f"{codec} ({suffix})" for codec, suffix, _ in ways)
        raise DataError(f"{self.stem}: OpenCV cannot write a video here with {names}")


def open_alone(path: Path) -> TextIO:
    """Opens an empty text file, written line by line; a DataError if another process writes it."""
    file = open(path, "a", 1, "utf-8", "backslashreplace")  # noqa: SIM115, the caller closes it
    if not lock_file(file, wait=False):
        file.close()
        raise DataError(f"{path}: another run is writing it; give one of them another `output_dir`")
    file.truncate(0)
    return file


class FrameResults:
    """Writes the detections of the frames of one source, in their order.

    `<output_dir>/<stem>.jsonl` gets a line per frame at once, so nothing is lost when a run ends
    early; `<output_dir>/<stem>.mp4` is the video with its boxes, `bbox.json` the COCO results of
    any score.

    Args:
        category_ids: the category of each class index in bbox.json, None for the index itself.
        options: classes that are left out, the look of the video.

    Attributes:
        count, detections: numbers of frames and of detections that were written.
    """

    def __init__(
        self,
        source: FrameSource,
        output_dir: Union[str, Path],
        class_names: Sequence[str],
        *,
        threshold: Threshold,
        save_video: bool = True,
        save_results: bool = False,
        category_ids: Optional[Sequence[int]] = None,
        options: ResultOptions = ALL_RESULTS,
    ):
        self.source, self.output_dir = source, Path(output_dir)
        self.class_names, self.threshold = class_names, threshold
        self.category_ids, self.style = category_ids, options.style
        self.class_ids = class_ids_of(options.classes, class_names)
        self.count = self.detections = 0
        stem = self.output_dir / source.stem
        self.video = VideoFile(stem, source.fps) if save_video else None
        self.records: Optional[list[dict[str, Any]]] = [] if save_results else None
        self.json_path = stem.with_name(stem.name + ".jsonl")
        self._drawn: Optional[np.ndarray] = None
        self._next = 0
        with self._named_errors():
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self._lines = open_alone(self.json_path)

    def write(self, frame: Frame, bbox: np.ndarray) -> None:
        """The detections [M, 6] of the next frame."""
        bbox = rows_of_classes(bbox, self.class_ids)
        found = detection_records(bbox, self.class_names, self.threshold)
        line = {"frame": frame.number, "time_s": round(frame.time_s, 3), "detections": found}
        with self._named_errors():
            self._lines.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.count += 1
        self.detections += len(found)
        if self.records is not None:
            name = f"{self.source.value}#{frame.number}"
            self.records += coco_records(bbox, frame.number, name, category_ids=self.category_ids)
        if self.video is not None:
            self._write_video(self.video, frame, bbox)

    def _write_video(self, video: VideoFile, frame: Frame, bbox: np.ndarray) -> None:
        """Keeps the time of a live source: repeats the last frame where some are missing, and
        leaves frames out where there are more than the rate of the video."""
        place = round(frame.time_s * self.source.fps)
        if self._drawn is None:
            self._next = place
        elif place - self._next < -MOST_FRAMES_OFF:
            return
        elif place - self._next > MOST_FRAMES_OFF:
            for _ in range(place - self._next):
                video.write(self._drawn)
            self._next = place
        names, style = self.class_names, self.style
        self._drawn = draw_detections(frame.image, bbox, names, self.threshold, style=style)
        video.write(self._drawn)
        self._next += 1

    def close(self) -> list[Path]:
        """Finishes all files, also where one of them raises, and returns those written."""
        written = [self.json_path]
        with contextlib.ExitStack() as steps:  # the last one is done first, and all of them
            if self.video is not None:
                steps.callback(self.video.close)
                written += [self.video.path] if self.video.path else []
            if self.records is not None:
                path = self.output_dir / RESULTS_FILE
                steps.callback(write_json, path, self.records)
                written.append(path)
            steps.enter_context(self._named_errors())
            self._lines.close()
        return written

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Errors of the lines of JSON name their file."""
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.json_path}: cannot be written ({error.strerror})") from error


def check_not_the_input(video: Path, output_dir: Union[str, Path]) -> None:
    """Refuses to write results into the folder of the video: one of them may have its name."""
    if Path(output_dir).resolve() == video.resolve().parent:
        raise DataError(
            f"{video}: its result would be written into the video's own folder {output_dir}; give "
            "another `output_dir`"
        )
