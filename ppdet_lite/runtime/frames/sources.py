"""Sources of frames: a video file, a camera or a network stream."""

import math
import os
import re
import time
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Optional, Union

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.files import check_utf8
from ppdet_lite.utils.opencv_log import silence_opencv

DEFAULT_FPS = 25.0
"""Rate of the written video for sources that do not report one, as many cameras."""

OPEN_TIMEOUT_MS = 10_000

SECRET_PARAMETER = re.compile(
    r"((?:(?:pass|pwd|psw|psk|token|secret|auth|key)[\w.-]*|(?<![a-z])pw)=)[^&]*", re.IGNORECASE
)
"""A parameter of an address whose name looks like that of a password, and its value."""


class Frame(NamedTuple):
    """One image of a source: its number from 0 (skipped ones count), uint8 [H, W, 3] RGB, and the
    seconds since the first frame, by the clock for a live source."""

    number: int
    image: np.ndarray
    time_s: float


class FrameSource:
    """Frames of a video, camera or stream, in order.

    Args:
        capture: an open `cv2.VideoCapture`, or an object that behaves like one.
        option, value: name and value of the parameter that chose the source.
        stem: file name of its results, without ending.
        is_live: it goes on whether frames are taken or not, and has no end of its own.

    Attributes:
        length: number of frames, where it is known.
    """

    def __init__(
        self,
        capture: Any,
        option: str,
        value: str,
        *,
        stem: str,
        is_live: bool,
        max_frames: Optional[int] = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.capture, self.option, self.value, self.stem = capture, option, value, stem
        self.is_live, self.max_frames, self.clock = is_live, max_frames, clock
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else DEFAULT_FPS
        frames = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length: Optional[int] = None
        if not is_live and math.isfinite(frames) and frames > 0:
            self.length = min(int(frames), max_frames or int(frames))

    def __iter__(self) -> Iterator[Frame]:
        """The frames; the source is closed at the end. A DataError if a live source stopped, or a
        file has no frame that can be decoded."""
        number, start, name = 0, None, f"`{self.option}` {self.value}"
        try:
            while self.max_frames is None or number < self.max_frames:
                done, image = self.capture.read()
                if not done or image is None:
                    if self.is_live:
                        raise DataError(f"{name}: closed after {number} frames")
                    if number == 0:
                        raise DataError(f"{name}: no frame of it can be decoded")
                    return
                now = self.clock()
                start = now if start is None else start
                is_gray = image.ndim == 2 or image.shape[2] == 1
                image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if is_gray else cv2.COLOR_BGR2RGB)
                yield Frame(number, image, now - start if self.is_live else number / self.fps)
                number += 1
        finally:
            self.capture.release()


def open_source(
    option: str, value: Union[str, int], max_frames: Optional[int] = None
) -> FrameSource:
    """Frames of a "video_file", a camera of this machine ("camera_id") or a network stream
    ("rtsp"), which has to answer in 10 seconds; `value` is its path, number or address."""
    shown = without_password(str(value)) if option == "rtsp" else str(value)
    check_utf8(f"`{option}` {shown}", "OpenCV's reader of videos")
    settings: tuple[Any, ...] = ()
    if option == "video_file":
        stem, reason = Path(str(value)).stem, "not a video, or damaged"
        if not Path(str(value)).is_file():
            is_folder = Path(str(value)).is_dir()
            reason = "is a folder: use `image_dir`" if is_folder else "no such file"
            raise DataError(f"`video_file` {value}: {reason}")
    elif option == "camera_id":
        stem = f"camera_{value}"
        reason = f"cannot be opened; no such camera (/dev/video{value}), no permission, or in use"
    else:
        stem = "stream"
        reason = "cannot be opened; wrong address or password, or nothing answers there"
        if hasattr(cv2, "CAP_PROP_OPEN_TIMEOUT_MSEC"):
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS]
            limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, OPEN_TIMEOUT_MS]
            settings = (cv2.CAP_FFMPEG, limits)
    # FFmpeg's and OpenCV's own lines on standard error repeat the address with its password.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    silence_opencv()
    capture = cv2.VideoCapture(value, *settings)
    if not capture.isOpened():
        raise DataError(f"`{option}` {shown}: {reason}")
    is_live = option != "video_file"
    return FrameSource(capture, option, shown, stem=stem, is_live=is_live, max_frames=max_frames)


def without_password(url: str) -> str:
    """The address for messages and files: `user:***@` instead of the password, and `password=***`
    among its parameters. User names and passwords may hold an @; in doubt a part is masked."""
    url = re.sub(r"(://[^/:\[]*):(?!\d+(?:/|$))(?:[^/]*|.*)@", r"\1:***@", url)
    return re.sub(SECRET_PARAMETER, r"\1***", url)
