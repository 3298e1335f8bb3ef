"""Where frames come from: a video file, a camera or a network stream."""

import math
import os
import re
import time
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.files import check_utf8

DEFAULT_FPS = 25.0
"""Of the written video for sources that do not know their own, many cameras among them."""

OPEN_TIMEOUT_MS = 10_000

SECRET_PARAMETER = re.compile(
    r"((?:(?:pass|pwd|psw|psk|token|secret|auth|key)[\w.-]*|(?<![a-z])pw)=)[^&]*", re.IGNORECASE
)
"""A parameter of an address whose name looks like that of a password, and its value."""


class Frame(NamedTuple):
    """One image of a source.

    Attributes:
        index: number of the frame in the source, from 0; frames of a live source that were
            skipped count.
        image: uint8 [H, W, 3] RGB.
        time_s: seconds since the first frame; of a live source by the clock, because the rate that
            cameras tell, if any, is seldom the one they keep.
    """

    index: int
    image: np.ndarray
    time_s: float


class FrameSource:
    """Frames of a video, camera or stream, in order.

    Args:
        capture: an open `cv2.VideoCapture`, or what behaves like one.
        option, value: name of the parameter that chose the source, and what it was.
        stem: file name of its results, without ending.
        is_live: it goes on whether frames are taken or not, and has no end of its own.
        max_frames: stop after so many.
    """

    def __init__(
        self,
        capture,
        option: str,
        value: str,
        stem: str,
        is_live: bool,
        max_frames: Optional[int] = None,
    ):
        self.capture = capture
        self.option, self.value = option, value
        self.stem = stem
        self.is_live = is_live
        self.max_frames = max_frames
        self.clock = time.monotonic
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else DEFAULT_FPS
        frames = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        known = not is_live and math.isfinite(frames) and frames > 0
        self.length = int(frames) if known else None
        if max_frames is not None and self.length is not None:
            self.length = min(self.length, max_frames)

    def __iter__(self) -> Iterator[Frame]:
        """The frames; the source is closed at the end.

        Raises:
            DataError: a live source stopped, or a file has no frame that can be decoded.
        """
        index, start = 0, None
        try:
            while self.max_frames is None or index < self.max_frames:
                done, image = self.capture.read()
                if not done or image is None:
                    self._check_end(index)
                    return
                now = self.clock()
                start = now if start is None else start
                time_s = now - start if self.is_live else index / self.fps
                yield Frame(index, _as_rgb(image), time_s)
                index += 1
        finally:
            self.capture.release()

    def _check_end(self, count: int) -> None:
        if self.is_live:
            raise DataError(f"`{self.option}` {self.value}: closed after {count} frames")
        if count == 0:
            raise DataError(f"`{self.option}` {self.value}: no frame of it can be decoded")


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """OpenCV's frame, BGR or gray, as RGB."""
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def open_video(path: str, max_frames: Optional[int] = None) -> FrameSource:
    """Frames of a file.

    Raises:
        DataError: no such file, or not a video that OpenCV can open.
    """
    check_utf8(f"`video_file` {path}", "OpenCV's reader of videos")
    file = Path(path)
    if not file.is_file():
        reason = "is a folder: use `image_dir`" if file.is_dir() else "no such file"
        raise DataError(f"`video_file` {path}: {reason}")
    capture = _open(str(file))
    if not capture.isOpened():
        raise DataError(f"`video_file` {path}: not a video that OpenCV can open, or a damaged one")
    return FrameSource(capture, "video_file", str(path), file.stem, False, max_frames)


def open_camera(number: int, max_frames: Optional[int] = None) -> FrameSource:
    """Frames of a camera of this machine.

    Raises:
        DataError: there is no such camera, or it is in use.
    """
    capture = _open(number)
    if not capture.isOpened():
        raise DataError(
            f"`camera_id` {number}: cannot be opened; no such camera (/dev/video{number}), no "
            "permission for it, or another program uses it"
        )
    return FrameSource(
        capture, "camera_id", str(number), f"camera_{number}", True, max_frames=max_frames
    )


def open_stream(url: str, max_frames: Optional[int] = None) -> FrameSource:
    """Frames of a network stream.

    Raises:
        DataError: nothing answers there in 10 seconds, or it is no video.
    """
    shown = without_password(url)
    check_utf8(f"`rtsp` {shown}", "OpenCV's reader of videos")
    capture = _open(url, OPEN_TIMEOUT_MS)
    if not capture.isOpened():
        raise DataError(
            f"`rtsp` {shown}: cannot be opened; wrong address or password, or nothing answers there"
        )
    return FrameSource(capture, "rtsp", shown, "stream", True, max_frames)


def without_password(url: str) -> str:
    """The address as it may stand in messages and files: `user:***@` instead of the password, and
    `password=***` among its parameters. User names (mail addresses, for instance) and passwords may
    hold an @; what is in doubt is masked rather than shown."""
    url = re.sub(r"(://[^/:\[]*):(?!\d+(?:/|$))(?:[^/]*|.*)@", r"\1:***@", url)
    return re.sub(SECRET_PARAMETER, r"\1***", url)


def _open(source, timeout_ms: Optional[int] = None):
    """cv2.VideoCapture; FFmpeg's and OpenCV's own lines on standard error would say things twice,
    and the address with its password."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    quiet = getattr(getattr(cv2.utils, "logging", None), "setLogLevel", None)
    if quiet is not None:
        quiet(0)
    if timeout_ms is not None and hasattr(cv2, "CAP_PROP_OPEN_TIMEOUT_MSEC"):
        options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms]
        options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
        return cv2.VideoCapture(source, cv2.CAP_FFMPEG, options)
    return cv2.VideoCapture(source)
