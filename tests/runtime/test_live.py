"""Cameras and streams: the time of their frames, and addresses whose passwords nobody may read."""

import json

import numpy as np
import pytest

from ppdet_lite.runtime.frames.results import FrameResults
from ppdet_lite.runtime.frames.sources import FrameSource, without_password


class Camera:
    """A cv2.VideoCapture that tells the rate `fps` and gives gray frames whose level is their
    number; times are `seconds`, one per frame."""

    def __init__(self, fps, seconds):
        self.fps, self.seconds, self.given = fps, seconds, -1

    def get(self, key):
        return self.fps

    def read(self):
        self.given += 1
        return True, np.full((8, 8, 3), self.given, np.uint8)

    def release(self):
        pass

    def clock(self):
        return self.seconds[self.given]


def written(folder, fps, seconds, taken=None):
    """What is written of a camera.

    Args:
        taken: numbers of the frames that the network could follow; None: all.

    Returns:
        The times in the lines of JSON, and the numbers of the frames in the video.
    """
    camera = Camera(fps, seconds)
    source = FrameSource(
        camera,
        "camera_id",
        "0",
        stem="cam",
        is_live=True,
        max_frames=len(seconds),
        clock=camera.clock,
    )
    results = FrameResults(source, folder, ["a"], threshold=0.5)
    numbers = []
    results.video.write = lambda image: numbers.append(int(image[0, 0, 0]))
    for frame in source:
        if taken is None or frame.number in taken:
            results.write(frame, np.zeros((0, 6), np.float32))
    results.close()
    lines = (folder / "cam.jsonl").read_text().splitlines()
    return [json.loads(line)["time_s"] for line in lines], numbers


def test_skipped_frames_keep_the_time_of_the_video(tmp_path):
    seconds = [index / 10 for index in range(10)]
    times, numbers = written(tmp_path, 10.0, seconds, taken=(3, 4, 8))
    assert times == [0.3, 0.4, 0.8]
    assert numbers == [3, 4, 4, 4, 4, 8]


@pytest.mark.parametrize(
    ("told", "real", "numbers"),
    [
        (0.0, 5, [0] * 5 + [1] * 5 + [2] * 5 + [3]),
        (30.0, 10, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]),
        (10.0, 10, [0, 1, 2, 3]),
        (10.0, 80, [0, 1]),
    ],
)
def test_the_time_is_that_of_the_clock(tmp_path, told, real, numbers):
    """Cameras that tell no rate, or another than they keep."""
    seconds = [index / real for index in range(4)]
    assert written(tmp_path, told, seconds) == ([round(s, 3) for s in seconds], numbers)


def test_frames_that_come_unevenly_are_neither_doubled_nor_left_out(tmp_path):
    seconds = [0, 0.04, 0.28, 0.3, 0.42, 0.55, 0.56, 0.7]
    assert written(tmp_path, 10.0, seconds) == (seconds, list(range(8)))


def test_passwords_are_masked():
    mask = without_password
    assert mask("rtsp://10.0.0.7/a@b:c") == "rtsp://10.0.0.7/a@b:c"
    assert mask("rtsp://admin:pa:ss@10.0.0.7:554/x") == "rtsp://admin:***@10.0.0.7:554/x"
    assert mask("http://10.0.0.7:8080/video@b") == "http://10.0.0.7:8080/video@b"
    assert mask("rtsp://[fe80::1]:554/a@b") == "rtsp://[fe80::1]:554/a@b"
    assert mask("rtsp://me:p@ss@10.0.0.7/x@y") == "rtsp://me:***@10.0.0.7/x@y"
    assert mask("rtsp://me:pa/ss@10.0.0.7/x") == "rtsp://me:***@10.0.0.7/x"
    assert mask("http://cam/x?user=me&PASSWORD=a:b&c=1") == "http://cam/x?user=me&PASSWORD=***&c=1"
    assert mask("rtsp://me@mail.com:secret@10.0.0.7/x") == "rtsp://me@mail.com:***@10.0.0.7/x"
    assert (
        mask("rtsp://me@mail.com:s@x@[fe80::1]:554/x") == "rtsp://me@mail.com:***@[fe80::1]:554/x"
    )
    assert mask("rtsp://me@10.0.0.7:554/a@b") == "rtsp://me@10.0.0.7:554/a@b"
    for name in ("password", "pwd", "psw", "pw", "pass_word", "access_token", "apikey", "authKey"):
        masked = f"rtsp://cam/x?user=me&{name}=***&channel=1"
        assert mask(masked.replace("***", "a/b:c@d")) == masked
    path = "rtsp://cam:554/user=admin_password=***"
    assert mask(path.replace("***", "tl_channel=1.sdp")) == path
    assert mask("rtsp://cam/monkey/x?channel=1&fps=5") == "rtsp://cam/monkey/x?channel=1&fps=5"
