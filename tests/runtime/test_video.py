"""Videos, cameras and streams: where frames come from, and the files that are written."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ppdet_lite.cli.deploy import main
from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.frames.results import FrameResults, VideoFile, open_alone
from ppdet_lite.runtime.frames.sources import Frame, FrameSource

FRAMES = 12


def frame_image(index, height=96, width=128):
    """A frame that tells its number: a white bar whose length grows by 8 px a frame."""
    image = np.full((height, width, 3), 60, np.uint8)
    image[8:40, : 8 * (index + 1)] = 250
    return image


def number_of(image_rgb):
    return round((image_rgb[24, :, 1] > 150).sum() / 8) - 1


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "in" / "street.mp4"
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 12.5, (128, 96))
    for index in range(FRAMES):
        writer.write(frame_image(index))
    writer.release()
    return path


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    fps, frames = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        done, image = capture.read()
        if not done:
            return fps, frames
        frames.append(image)


class StubCapture:
    """A cv2.VideoCapture that gives numbered frames, then fails."""

    def __init__(self, count=5, fps=0.0, seconds=0.0):
        self.count, self.fps, self.seconds = count, fps, seconds
        self.given = 0
        self.released = False

    def isOpened(self):
        return self.count > 0

    def get(self, key):
        return self.fps if key == cv2.CAP_PROP_FPS else -1.0

    def read(self):
        time.sleep(self.seconds)
        if self.given == self.count:
            return False, None
        self.given += 1
        return True, frame_image(self.given - 1)

    def release(self):
        self.released = True


def live(capture, max_frames=None):
    return FrameSource(capture, "camera_id", "0", stem="cam", is_live=True, max_frames=max_frames)


# ------------------------------------------------------------------------------ the command line
def test_a_video_from_end_to_end(exported, video, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--model_dir", str(exported), "--video_file", str(video), "--batch_size", "5"]
    arguments += ["--output_dir", str(out), "--threshold", "0.1", "--save_results"]
    main(arguments)
    fps, frames = read_video(out / "street.mp4")
    assert fps == 12.5 and len(frames) == FRAMES
    assert {frame.shape for frame in frames} == {(96, 128, 3)}
    lines = [json.loads(line) for line in (out / "street.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(FRAMES))
    assert lines[5]["time_s"] == 0.4
    assert {d["class_name"] for line in lines for d in line["detections"]} <= {"square", "circle"}
    count = sum(len(line["detections"]) for line in lines)
    assert count > FRAMES
    records = json.loads((out / "bbox.json").read_text())
    assert [r["image_id"] for r in records] == sorted(r["image_id"] for r in records)
    assert records[-1]["file_name"] == f"{video}#{FRAMES - 1}"
    printed = capsys.readouterr().out
    assert printed.startswith(f"--video_file {video}: {FRAMES} frames, {count} detections, ")
    assert str(out / "street.mp4") in printed


def test_frames_give_the_detections_of_images(exported, video, tmp_path):
    """The overlapping stages compute what one image after the other gives."""
    detector = Detector(exported)
    _, frames = read_video(video)
    arguments = ["--model_dir", str(exported), "--video_file", str(video), "--save_images", "false"]
    main([*arguments, "--output_dir", str(tmp_path / "out"), "--threshold", "0.1"])
    lines = (tmp_path / "out" / "street.jsonl").read_text().splitlines()
    assert not (tmp_path / "out" / "street.mp4").exists()
    for line, frame in zip(lines, frames):
        rows = detector.predict([np.ascontiguousarray(frame[:, :, ::-1])])[0]
        scores = [detection["score"] for detection in json.loads(line)["detections"]]
        np.testing.assert_allclose(scores, rows[rows[:, 1] >= 0.1, 1], atol=1e-4)


def test_max_frames(nothing_found, video, tmp_path):
    arguments = ["--model_dir", "x", "--video_file", str(video), "--max_frames", "3"]
    main([*arguments, "--output_dir", str(tmp_path / "out")])
    assert len((tmp_path / "out" / "street.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGINT, os.kill), (signal.SIGTERM, os.kill), (signal.SIGTERM, os.killpg)],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM of a service manager to all processes"],
)
def test_ctrl_c_leaves_a_whole_video(repo, exported, tmp_path, number, send):
    path = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (128, 96))
    for index in range(4000):
        writer.write(frame_image(index % FRAMES))
    writer.release()
    out = tmp_path / "out"
    command = [sys.executable, str(repo / "deploy/python/infer.py"), "--model_dir", str(exported)]
    command += ["--video_file", str(path), "--output_dir", str(out), "--cpu_threads", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, **pipes)
    lines = out / "long.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (lines.exists() and lines.stat().st_size > 20000):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    send(process.pid, number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and stderr == "interrupted\n"
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    _, frames = read_video(out / "long.mp4")
    assert 2 < len(written) < 4000 and abs(len(frames) - len(written)) <= 1
    assert stdout.startswith(f"--video_file {path}: {len(written)} frames, ")
    assert stdout.endswith(f": of 4000 frames {len(written)} were done\n")
    assert stdout.count("\n") == 2  # no call stack of Paddle


def test_two_runs_do_not_write_one_file(nothing_found, video, tmp_path):
    pytest.importorskip("fcntl", reason="no file locks on this system")
    arguments = ["--model_dir", "x", "--video_file", str(video), "--max_frames", "2"]
    arguments += ["--output_dir", str(tmp_path)]
    main(arguments)
    path = tmp_path / "street.jsonl"
    before = path.read_text()
    assert len(before.splitlines()) == 2
    with open_alone(path) as other:
        other.write("of the other run\n")
        with pytest.raises(DataError, match=f"^{path}: another run .* another `output_dir`"):
            main(arguments)
    assert path.read_text() == "of the other run\n"
    main(arguments)
    assert path.read_text() == before


def test_sources_that_cannot_be_opened(exported, video, tmp_path, monkeypatch):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    cases = [
        (["--video_file", str(tmp_path / "gone.mp4")], ".*gone.mp4: no such file"),
        (["--video_file", str(tmp_path)], f"{tmp_path}: is a folder: use `image_dir`"),
        (["--video_file", str(text), "--output_dir", "out"], f"{text}: not a video"),
        (["--camera_id", "77"], "77: cannot be opened; .*/dev/video77"),
        (
            ["--rtsp", "rtsp://me:secret@127.0.0.1:9/live"],
            r"rtsp://me:\*\*\*@127.0.0.1:9/live: cannot be opened",
        ),
    ]
    for arguments, reason in cases:
        with pytest.raises(DataError, match=f"^`{arguments[0][2:]}` {reason}"):
            main(["--model_dir", str(exported), *arguments])
    arguments = ["--model_dir", str(exported), "--video_file", str(video), "--run_benchmark"]
    with pytest.raises(UserError, match="^`run_benchmark` needs"):
        main(arguments)


def test_a_video_that_is_cut_short_is_said(nothing_found, tmp_path, monkeypatch, capsys):
    """Its header still tells the length that it should have."""

    class Cut(StubCapture):
        def get(self, key):
            return 6.0 if key == cv2.CAP_PROP_FRAME_COUNT else 25.0

    path = tmp_path / "in" / "cut.mp4"
    path.parent.mkdir()
    path.write_bytes(b"")
    real, captures = cv2.VideoCapture, {}
    monkeypatch.setattr(cv2, "VideoCapture", lambda name: captures.get(name) or real(name))
    arguments = ["--model_dir", "x", "--video_file", str(path), "--output_dir"]
    for count, warning in (
        (4, f"warning: --video_file {path}: of 6 frames 4 were done; "),
        (6, ""),
    ):
        captures[str(path)] = Cut(count)
        main([*arguments, str(tmp_path / "out")])
        out, err = capsys.readouterr()
        assert err.startswith(warning) and bool(err) is bool(warning) and out.count("\n") == 1
        assert len((tmp_path / "out" / "cut.jsonl").read_text().splitlines()) == count


def test_the_video_is_not_overwritten(exported, video):
    before = video.read_bytes()
    arguments = ["--model_dir", str(exported), "--video_file", str(video)]
    with pytest.raises(DataError, match=f"^{video}: .*own folder .* another `output_dir`"):
        main([*arguments, "--output_dir", str(video.parent)])
    assert video.read_bytes() == before


def test_a_camera_that_closes_is_named_and_what_it_gave_is_kept(
    nothing_found, tmp_path, monkeypatch, capsys
):
    capture = StubCapture(count=7)
    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda name: capture if name == 0 else real(name))
    with pytest.raises(DataError, match="^`camera_id` 0: closed after 7 frames"):
        main(["--model_dir", "x", "--camera_id", "0", "--output_dir", str(tmp_path)])
    assert capture.released
    fps, frames = read_video(tmp_path / "camera_0.mp4")
    assert fps == 25 and len(frames) >= 1
    assert "camera_0.mp4" in capsys.readouterr().out


# ---------------------------------------------------------------------------------- the sources
def test_gray_frames_and_strange_rates():
    class Gray(StubCapture):
        def read(self):
            done, image = super().read()
            return done, None if image is None else image[:, :, 0]

    source = live(Gray(3, fps=float("nan")), max_frames=2)
    assert source.fps == 25 and source.length is None
    frames = list(source)
    assert [frame.number for frame in frames] == [0, 1]
    assert frames[0].image.shape == (96, 128, 3)
    assert live(StubCapture(fps=1e6)).fps == 25
    assert live(StubCapture(fps=29.97)).fps == 29.97


# ------------------------------------------------------------------------------------- the results
@pytest.mark.parametrize(
    ("size_hw", "fps", "name", "size_written"),
    [
        ((96, 128), 29.97, "v.mp4", (96, 128)),
        ((95, 127), 30.0, "v.avi", (95, 127)),
        ((95, 127), 29.97, "v.mp4", (96, 128)),
    ],
)
def test_size_and_rate_of_the_written_video(tmp_path, size_hw, fps, name, size_written):
    video = VideoFile(tmp_path / "v", fps)
    for index in range(FRAMES):
        video.write(frame_image(index, *size_hw))
    video.close()
    assert video.path == tmp_path / name
    rate, frames = read_video(video.path)
    assert abs(rate - fps) < 0.01 and len(frames) == FRAMES
    assert {frame.shape[:2] for frame in frames} == {size_written}
    assert [number_of(frame) for frame in frames] == list(range(FRAMES))


def test_motion_jpeg_where_mpeg4_cannot_be_written(tmp_path, monkeypatch):
    real = cv2.VideoWriter

    class Writer:
        fourcc, broken = real.fourcc, (".mp4",)

        def __new__(cls, path, *settings):
            return real() if path.endswith(cls.broken) else real(path, *settings)

    monkeypatch.setattr(cv2, "VideoWriter", Writer)
    video = VideoFile(tmp_path / "v", 12.5)
    video.write(frame_image(0))
    video.close()
    assert video.path == tmp_path / "v.avi" and len(read_video(video.path)[1]) == 1
    monkeypatch.setattr(Writer, "broken", (".mp4", ".avi"))
    with pytest.raises(DataError, match=f"^{tmp_path / 'w'}: .* mp4v .* and MJPG"):
        VideoFile(tmp_path / "w", 12.5).write(frame_image(0))


def test_a_video_of_changing_size_is_refused(tmp_path):
    video = VideoFile(tmp_path / "v", 25)
    video.write(frame_image(0))
    with pytest.raises(DataError, match="the size of the frames changed on the way"):
        video.write(frame_image(0, 64, 64))
    video.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk_is_said_and_the_other_files_are_finished(tmp_path):
    source = live(StubCapture(fps=10.0))
    results = FrameResults(source, tmp_path, ["a"], threshold=0.5, save_results=True)
    row, frame = (
        np.array([[0, 0.9, 1, 2, 30, 40]]),
        Frame(0, frame_image(0), 0),
    )
    results.write(frame, row)
    results._lines.close()
    results._lines = open("/dev/full", "w", 1)  # noqa: SIM115, closed by the results
    with pytest.raises(DataError) as caught:
        results.write(frame, row)
    assert str(caught.value) == (
        f"{tmp_path / 'cam.jsonl'}: cannot be written (No space left on device)"
    )
    with pytest.raises(DataError, match="cam.jsonl: cannot be written .No space left on device"):
        results.close()
    assert len(json.loads((tmp_path / "bbox.json").read_text())) == 1
    assert len(read_video(tmp_path / "cam.mp4")[1]) == 1


def test_a_video_that_is_not_whole_is_said(tmp_path):
    """OpenCV's writer says nothing when the disk is full."""
    video = VideoFile(tmp_path / "v", 25)
    for index in range(FRAMES):
        video.write(frame_image(index))
    release = video._writer.release

    def cut_short():
        release()
        data = video.path.read_bytes()
        video.path.write_bytes(data[: len(data) // 2])

    video._writer = SimpleNamespace(release=cut_short)
    with pytest.raises(DataError) as caught:
        video.close()
    assert str(caught.value) == f"{tmp_path / 'v.mp4'}: the video is not whole; is the disk full?"
    video.close()  # there is nothing left to do


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    source = live(StubCapture())
    with pytest.raises(DataError, match=f"{tmp_path / 'file'}{os.sep}cam.jsonl: cannot be written"):
        FrameResults(source, tmp_path / "file", ["a"], threshold=0.5)
