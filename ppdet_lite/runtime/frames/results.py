"""What is written for frames: a video with the boxes, a line of JSON per frame, COCO results."""

import contextlib
import json
from pathlib import Path
from typing import Optional, Sequence

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.detection_rows import RESULTS_FILE, coco_records, detection_records
from ppdet_lite.utils.drawing import draw_detections
from ppdet_lite.utils.files import check_utf8, write_json

MOST_FRAMES_OFF = 1
"""So far the written video may be off the time of a live source, whose frames never come at quite
equal intervals: without it frames would be doubled and left out all the time."""


class VideoFile:
    """A video that is written frame by frame; it is opened with the first one.

    MPEG-4 in .mp4, which OpenCV's wheels can write without further libraries; Motion JPEG in .avi
    where they cannot. Both know even sizes only in FFmpeg, so a video with an odd side is Motion
    JPEG by OpenCV's own writer; that one knows whole frame rates only, and with a broken rate the
    odd side gets one more pixel instead.

    Args:
        stem: path without ending.
        fps: frames per second.

    Raises:
        DataError: the name is not UTF-8.
    """

    def __init__(self, stem: Path, fps: float):
        check_utf8(stem, "OpenCV's writer of videos")
        self.stem = stem
        self.fps = fps
        self.path: Optional[Path] = None
        self._writer = None
        self._size_hw = (0, 0)
        self._count = 0

    def write(self, image_rgb: np.ndarray) -> None:
        """Appends uint8 RGB; all frames have the size of the first.

        Raises:
            DataError: no codec can write here.
        """
        if self._writer is None:
            self._open(image_rgb.shape[:2])
        height, width = self._size_hw
        extra = (height - image_rgb.shape[0], width - image_rgb.shape[1])
        if extra != (0, 0):
            if min(extra) < 0 or max(extra) > 1:
                raise DataError(f"{self.path}: the size of the frames changed on the way")
            image_rgb = cv2.copyMakeBorder(
                image_rgb, 0, extra[0], 0, extra[1], cv2.BORDER_REPLICATE
            )
        self._writer.write(np.ascontiguousarray(image_rgb[:, :, ::-1]))
        self._count += 1

    def close(self) -> None:
        """Finishes the file; without this it cannot be played.

        Raises:
            DataError: it cannot be played all the same: OpenCV says nothing when the disk is full.
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

    def _open(self, size_hw: tuple[int, int]) -> None:
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        is_odd = any(side % 2 for side in size_hw)
        own_writer = is_odd and self.fps == int(self.fps)
        if is_odd and not own_writer:
            size_hw = tuple(side + side % 2 for side in size_hw)
        ways = [("mp4v", ".mp4", cv2.CAP_ANY), ("MJPG", ".avi", cv2.CAP_ANY)]
        if own_writer:
            ways = [("MJPG", ".avi", cv2.CAP_OPENCV_MJPEG)]
        for codec, suffix, backend in ways:
            path = self.stem.with_name(self.stem.name + suffix)
            code = cv2.VideoWriter_fourcc(*codec)
            writer = cv2.VideoWriter(str(path), backend, code, self.fps, size_hw[::-1])
            if writer.isOpened():
                self._writer, self.path, self._size_hw = writer, path, size_hw
                return
            writer.release()
        names = " and ".join(f"{codec} ({suffix})" for codec, suffix, _ in ways)
        raise DataError(f"{self.stem}: OpenCV cannot write a video here with {names}")


def open_alone(path: Path):
    """A text file that is written line by line, empty at the start, which no other process writes.

    Raises:
        DataError: another process is writing it.
        OSError: it cannot be written.
    """
    file = open(path, "a", 1, "utf-8", "backslashreplace")  # noqa: SIM115, the caller closes it
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise DataError(
                f"{path}: another run is writing it; give one of them another `output_dir`"
            ) from error
        except OSError:
            pass  # a file system without locks
    file.truncate(0)
    return file


class FrameResults:
    """Writes what was found on the frames of one source, in their order.

    `<output_dir>/<stem>.jsonl` gets a line per frame at once, so nothing is lost when a run ends
    early; `<output_dir>/<stem>.mp4` is the video with its boxes, `bbox.json` the COCO results.

    Args:
        source: a FrameSource.
        output_dir: where the files go.
        class_names, threshold: as `draw_detections` takes them.
        save_video: draw and write the video.
        save_results: write bbox.json with all detections, whatever their score.
        category_ids: the category of each class index in bbox.json, None for the index itself.

    Raises:
        DataError: the folder cannot be written.
    """

    def __init__(
        self,
        source,
        output_dir: Path,
        class_names: Sequence[str],
        threshold: float,
        save_video: bool = True,
        save_results: bool = False,
        category_ids: Optional[Sequence[int]] = None,
    ):
        self.source = source
        self.output_dir = Path(output_dir)
        self.class_names, self.threshold = class_names, threshold
        self.category_ids = category_ids
        self.count = 0
        self.detections = 0
        stem = self.output_dir / source.stem
        self.video = VideoFile(stem, source.fps) if save_video else None
        self.records = [] if save_results else None
        self.json_path = stem.with_name(stem.name + ".jsonl")
        self._drawn, self._next = None, 0
        with self._named_errors():
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self._lines = open_alone(self.json_path)

    def write(self, frame, bbox: np.ndarray) -> None:
        """The detections [M, 6] of the next frame."""
        found = detection_records(bbox, self.class_names, self.threshold)
        line = {
            "frame": frame.index,
            "time_s": round(frame.time_s, 3),
            "detections": found,
        }
        with self._named_errors():
            self._lines.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.count += 1
        self.detections += len(found)
        if self.records is not None:
            name = f"{self.source.value}#{frame.index}"
            self.records += coco_records(bbox, frame.index, name, category_ids=self.category_ids)
        if self.video is not None:
            self._write_video(frame, bbox)

    def _write_video(self, frame, bbox: np.ndarray) -> None:
        """Keeps the time of a live source: where frames are missing, the last one is shown again,
        and where there are more than the rate of the video, they are left out of it."""
        place = round(frame.time_s * self.source.fps)
        if self._drawn is None:
            self._next = place
        late = place - self._next
        if late < -MOST_FRAMES_OFF:
            return
        drawn = draw_detections(frame.image, bbox, self.class_names, self.threshold)
        if late > MOST_FRAMES_OFF:
            for _ in range(late):
                self.video.write(self._drawn)
            self._next = place
        self.video.write(drawn)
        self._drawn, self._next = drawn, self._next + 1

    def close(self) -> list[Path]:
        """Finishes all files and returns those that were written.

        Raises:
            DataError: one of them is not whole; the others are finished nevertheless.
        """
        written = [self.json_path]
        with contextlib.ExitStack() as steps:  # the last one is done first, and all of them
            if self.video is not None:
                steps.callback(self.video.close)
                written += [self.video.path] if self.video.path else []
            if self.records is not None:
                path = self.output_dir / RESULTS_FILE
                steps.callback(write_json, path, self.records)
                written.append(path)
            steps.callback(self._close_lines)
        return written

    def _close_lines(self) -> None:
        with self._named_errors():
            self._lines.close()

    @contextlib.contextmanager
    def _named_errors(self):
        """Errors of the lines of JSON name their file."""
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.json_path}: cannot be written ({error.strerror})") from error


def check_not_the_input(video: Path, output_dir: Path) -> None:
    """Refuses to write results into the folder of the video: `<stem>.mp4` may be the video itself.

    Raises:
        DataError: names both.
    """
    if Path(output_dir).resolve() == Path(video).resolve().parent:
        raise DataError(
            f"{video}: its result would be written into the video's own folder {output_dir}; give "
            "another `output_dir`"
        )
