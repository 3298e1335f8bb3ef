"""Videos, cameras and streams: order, overlap, ends, errors and the files that are written."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import DataError, UserError

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


def live(deploy, capture, max_frames=None):
    return deploy.frame_sources.FrameSource(capture, "--camera_id", "0", "cam", True, max_frames)


# ------------------------------------------------------------------------------ the command line
def test_a_video_from_end_to_end(deploy, exported, video, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--model_dir", str(exported), "--video_file", str(video), "--batch_size", "5"]
    arguments += ["--output_dir", str(out), "--threshold", "0.1", "--save_results"]
    deploy.infer.main(arguments)
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


def test_frames_give_the_detections_of_pictures(deploy, exported, video, tmp_path):
    """The overlapping stages compute what one picture after the other gives."""
    detector = deploy.detector.Detector(exported)
    _, frames = read_video(video)
    arguments = ["--model_dir", str(exported), "--video_file", str(video), "--save_images", "false"]
    deploy.infer.main([*arguments, "--output_dir", str(tmp_path / "out"), "--threshold", "0.1"])
    lines = (tmp_path / "out" / "street.jsonl").read_text().splitlines()
    assert not (tmp_path / "out" / "street.mp4").exists()
    for line, frame in zip(lines, frames):
        rows = detector.predict([np.ascontiguousarray(frame[:, :, ::-1])])[0]
        scores = [detection["score"] for detection in json.loads(line)["detections"]]
        np.testing.assert_allclose(scores, rows[rows[:, 1] >= 0.1, 1], atol=1e-4)


def test_max_frames(deploy, exported, video, tmp_path):
    arguments = ["--model_dir", str(exported), "--video_file", str(video), "--max_frames", "3"]
    deploy.infer.main([*arguments, "--output_dir", str(tmp_path / "out")])
    assert len((tmp_path / "out" / "street.jsonl").read_text().splitlines()) == 3


def test_ctrl_c_leaves_a_whole_video(repo, exported, tmp_path):
    path = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (128, 96))
    for index in range(4000):
        writer.write(frame_image(index % FRAMES))
    writer.release()
    out = tmp_path / "out"
    command = [sys.executable, str(repo / "deploy/python/infer.py"), "--model_dir", str(exported)]
    command += ["--video_file", str(path), "--output_dir", str(out), "--cpu_threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = out / "long.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (lines.exists() and lines.stat().st_size > 20000):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and stderr == "interrupted\n"
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    _, frames = read_video(out / "long.mp4")
    assert 2 < len(written) < 4000 and abs(len(frames) - len(written)) <= 1
    assert f"of 4000 frames {len(written)} were done" in stdout


def test_sources_that_cannot_be_opened(deploy, exported, video, tmp_path, monkeypatch):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    cases = [
        (["--video_file", str(tmp_path / "gone.mp4")], f"{tmp_path / 'gone.mp4'}: no such file"),
        (["--video_file", str(tmp_path)], f"{tmp_path}: is a folder: use --image_dir"),
        (
            ["--video_file", str(text), "--output_dir", "elsewhere"],
            f"{text}: not a video that OpenCV can open, or a damaged one",
        ),
        (["--camera_id", "77"], "77: cannot be opened; no such camera (/dev/video77), no permiss"),
        (
            ["--rtsp", "rtsp://me:secret@127.0.0.1:9/live"],
            "rtsp://me:***@127.0.0.1:9/live: cannot be opened; wrong address or password, or "
            "nothing answers there",
        ),
    ]
    for arguments, reason in cases:
        with pytest.raises(DataError) as caught:
            deploy.infer.main(["--model_dir", str(exported), *arguments])
        assert str(caught.value).startswith(f"{arguments[0]} {reason}")
    arguments = ["--model_dir", str(exported), "--video_file", str(video), "--run_benchmark"]
    with pytest.raises(UserError, match="--run_benchmark needs --image_file or --image_dir"):
        deploy.infer.main(arguments)


def test_the_video_is_not_overwritten(deploy, exported, video):
    before = video.read_bytes()
    arguments = ["--model_dir", str(exported), "--video_file", str(video)]
    with pytest.raises(DataError) as caught:
        deploy.infer.main([*arguments, "--output_dir", str(video.parent)])
    assert str(caught.value) == (
        f"{video}: its result would be written into the video's own folder {video.parent}; give "
        "another --output_dir"
    )
    assert video.read_bytes() == before


def test_a_camera_that_closes_is_named_and_what_it_gave_is_kept(
    deploy, exported, tmp_path, monkeypatch, capsys
):
    capture = StubCapture(count=7, seconds=0.05)
    monkeypatch.setattr(deploy.frame_sources, "_open", lambda source, timeout=None: capture)
    arguments = ["--model_dir", str(exported), "--camera_id", "0"]
    with pytest.raises(DataError) as caught:
        deploy.infer.main([*arguments, "--output_dir", str(tmp_path)])
    assert str(caught.value) == "--camera_id 0: closed after 7 frames"
    assert capture.released
    fps, frames = read_video(tmp_path / "camera_0.mp4")
    assert fps == 25 and 1 <= len(frames) <= 7
    assert "camera_0.mp4" in capsys.readouterr().out


# ---------------------------------------------------------------------------------- the sources
def test_passwords_are_masked(deploy):
    mask = deploy.frame_sources.without_password
    assert mask("rtsp://10.0.0.7/a@b:c") == "rtsp://10.0.0.7/a@b:c"
    assert mask("rtsp://admin:pa:ss@10.0.0.7:554/x") == "rtsp://admin:***@10.0.0.7:554/x"
    assert mask("http://10.0.0.7:8080/video@b") == "http://10.0.0.7:8080/video@b"
    assert mask("rtsp://[fe80::1]:554/a@b") == "rtsp://[fe80::1]:554/a@b"
    assert mask("rtsp://me:p@ss@10.0.0.7/x@y") == "rtsp://me:***@10.0.0.7/x@y"
    assert mask("rtsp://me:pa/ss@10.0.0.7/x") == "rtsp://me:***@10.0.0.7/x"
    assert mask("http://cam/x?user=me&PASSWORD=a:b&c=1") == "http://cam/x?user=me&PASSWORD=***&c=1"


def test_gray_frames_and_strange_rates(deploy):
    class Gray(StubCapture):
        def read(self):
            done, image = super().read()
            return done, None if image is None else image[:, :, 0]

    source = live(deploy, Gray(3, fps=float("nan")), max_frames=2)
    assert source.fps == 25 and source.length is None
    frames = list(source)
    assert [frame.index for frame in frames] == [0, 1]
    assert frames[0].image.shape == (96, 128, 3)
    assert live(deploy, StubCapture(fps=1e6)).fps == 25
    assert live(deploy, StubCapture(fps=29.97)).fps == 29.97


# ------------------------------------------------------------------------------------ the pipeline
def pipeline_of(deploy, frames, written, detect=None, prepare=None, **options):
    def write(frame, found):
        written.append((frame, found))

    return deploy.frame_pipeline.FramePipeline(
        frames,
        prepare or (lambda image: image),
        detect or (lambda samples: list(samples)),
        write,
        **options,
    )


def numbered(deploy, count):
    return (deploy.frame_sources.Frame(index, index) for index in range(count))


def test_order_is_kept_in_batches(deploy):
    written, sizes = [], []

    def detect(samples):
        sizes.append(len(samples))
        time.sleep(0.001)
        return [10 * sample for sample in samples]

    pipeline = pipeline_of(deploy, numbered(deploy, 23), written, detect, batch_size=4)
    assert pipeline.run() == (23, 0)
    assert sizes == [4, 4, 4, 4, 4, 3]
    assert [(frame.index, found) for frame, found in written] == [(i, 10 * i) for i in range(23)]


def test_stages_overlap_and_queues_are_bounded(deploy):
    """Each stage waits for the others to be at work at the same time."""
    together = threading.Barrier(3, timeout=20)
    ahead, seen = [], []

    def prepare(image):
        if image == 6:
            together.wait()
        ahead.append(image)
        return image

    def detect(samples):
        if samples[0] == 3:
            together.wait()
        return samples

    def write(frame, found):
        if frame.index == 1:
            together.wait()
        seen.append((frame.index, max(ahead)))

    pipeline = deploy.frame_pipeline.FramePipeline(
        numbered(deploy, 60), prepare, detect, write, queue_length=2
    )
    pipeline.run()
    assert [index for index, _ in seen] == list(range(60))
    # two queues of 2, one frame in the hands of each stage
    assert max(newest - index for index, newest in seen) <= 7


@pytest.mark.parametrize("stage", ["prepare", "detect", "write", "frames"])
def test_an_error_in_any_stage_ends_the_run_with_its_message(deploy, stage):
    def fail(*args):
        raise RuntimeError(f"broken {stage}")

    def failing_frames():
        yield deploy.frame_sources.Frame(0, 0)
        fail()

    written = []
    frames = failing_frames() if stage == "frames" else numbered(deploy, 1000)
    options = {stage: fail} if stage in ("prepare", "detect") else {}
    pipeline = pipeline_of(deploy, frames, written, **options)
    if stage == "write":
        pipeline.write = fail
    before = threading.active_count()
    with pytest.raises(RuntimeError, match=f"broken {stage}"):
        pipeline.run()
    assert threading.active_count() == before
    if stage == "frames":
        assert len(written) == 1  # what was read before the error is done


def test_a_live_source_skips_what_the_network_cannot_follow(deploy):
    written = []

    def frames():
        for index in range(100):
            time.sleep(0.001)
            yield deploy.frame_sources.Frame(index, index)

    def detect(samples):
        time.sleep(0.01)
        return samples

    pipeline = pipeline_of(deploy, frames(), written, detect, is_live=True)
    done, skipped = pipeline.run()
    order = [frame.index for frame, _ in written]
    assert skipped > 20 and done + skipped == 100 and len(order) == done
    assert order == sorted(order) and order[-1] == 99


# ------------------------------------------------------------------------------------- the results
@pytest.mark.parametrize(
    ("size_hw", "fps", "name", "size_written"),
    [
        ((96, 128), 29.97, "v.mp4", (96, 128)),
        ((95, 127), 30.0, "v.avi", (95, 127)),
        ((95, 127), 29.97, "v.mp4", (96, 128)),
    ],
)
def test_size_and_rate_of_the_written_video(deploy, tmp_path, size_hw, fps, name, size_written):
    video = deploy.frame_results.VideoFile(tmp_path / "v", fps)
    for index in range(FRAMES):
        video.write(frame_image(index, *size_hw))
    video.close()
    assert video.path == tmp_path / name
    rate, frames = read_video(video.path)
    assert abs(rate - fps) < 0.01 and len(frames) == FRAMES
    assert {frame.shape[:2] for frame in frames} == {size_written}
    assert [number_of(frame) for frame in frames] == list(range(FRAMES))


def test_motion_jpeg_where_mpeg4_cannot_be_written(deploy, tmp_path, monkeypatch):
    real = cv2.VideoWriter

    def writer(path, backend, code, fps, size):
        code = 0 if path.endswith(".mp4") else code
        return real("" if code == 0 else path, backend, code, fps, size)

    monkeypatch.setattr(deploy.frame_results.cv2, "VideoWriter", writer)
    monkeypatch.setattr(writer, "fourcc", real.fourcc, raising=False)
    video = deploy.frame_results.VideoFile(tmp_path / "v", 12.5)
    video.write(frame_image(0))
    video.close()
    assert video.path == tmp_path / "v.avi" and len(read_video(video.path)[1]) == 1
    monkeypatch.setattr(
        deploy.frame_results.cv2, "VideoWriter", lambda *a: real("", cv2.CAP_ANY, 0, 1, (2, 2))
    )
    with pytest.raises(DataError) as caught:
        deploy.frame_results.VideoFile(tmp_path / "w", 12.5).write(frame_image(0))
    assert str(caught.value) == (
        f"{tmp_path / 'w'}: OpenCV cannot write a video here with mp4v (.mp4) and MJPG (.avi)"
    )


def test_a_video_of_changing_size_is_refused(deploy, tmp_path):
    video = deploy.frame_results.VideoFile(tmp_path / "v", 25)
    video.write(frame_image(0))
    with pytest.raises(DataError, match="the size of the frames changed on the way"):
        video.write(frame_image(0, 64, 64))
    video.close()


def test_skipped_frames_keep_the_time_of_the_video(deploy, tmp_path):
    source = live(deploy, StubCapture(fps=10.0))
    results = deploy.frame_results.FrameResults(source, tmp_path, ["a"], 0.5)
    nothing = np.zeros((0, 6), np.float32)
    for index in (0, 1, 5):
        results.write(deploy.frame_sources.Frame(index, frame_image(index)), nothing)
    assert sorted(results.close()) == [tmp_path / "cam.jsonl", tmp_path / "cam.mp4"]
    _, frames = read_video(tmp_path / "cam.mp4")
    assert [number_of(frame) for frame in frames] == [0, 1, 1, 1, 1, 5]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk_is_said_and_the_other_files_are_finished(deploy, tmp_path):
    source = live(deploy, StubCapture(fps=10.0))
    results = deploy.frame_results.FrameResults(source, tmp_path, ["a"], 0.5, save_results=True)
    row, frame = np.array([[0, 0.9, 1, 2, 30, 40]]), deploy.frame_sources.Frame(0, frame_image(0))
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


def test_a_video_that_is_not_whole_is_said(deploy, tmp_path):
    """OpenCV's writer says nothing when the disk is full."""
    video = deploy.frame_results.VideoFile(tmp_path / "v", 25)
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


def test_a_folder_that_cannot_be_written_is_named(deploy, tmp_path):
    (tmp_path / "file").write_text("")
    source = live(deploy, StubCapture())
    with pytest.raises(DataError, match=f"{tmp_path / 'file'}{os.sep}cam.jsonl: cannot be written"):
        deploy.frame_results.FrameResults(source, tmp_path / "file", ["a"], 0.5)


# ------------------------------------------------------------------------ the engine's own process
@pytest.fixture(scope="module")
def apart(deploy, exported):
    detector = deploy.detector.Detector(exported, cpu_threads=1, own_process=True, batch_size=2)
    yield detector
    detector.close()


def test_another_process_computes_the_same(deploy, exported, apart):
    here = deploy.detector.Detector(exported, cpu_threads=1)
    assert isinstance(apart.engine, deploy.engine_process.EngineProcess)
    assert apart.engine.kernels == here.engine.kernels == "oneDNN"
    assert list(apart.engine.input_names) == list(here.engine.input_names)
    pictures = [frame_image(index) for index in range(3)]
    for count in (1, 2, 3):  # 3 are more than the shared memory holds: they take the pipe
        for one, other in zip(apart.predict(pictures[:count]), here.predict(pictures[:count])):
            np.testing.assert_allclose(one, other, atol=0.01)


def test_threads_of_this_process_work_while_the_network_computes(apart):
    found = []
    thread = threading.Thread(target=lambda: found.extend(apart.predict([frame_image(1)])))
    os.kill(apart.engine._process.pid, signal.SIGSTOP)  # a network that takes very long
    try:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and found == []
    finally:
        os.kill(apart.engine._process.pid, signal.SIGCONT)
    thread.join(60)
    assert len(found) == 1


def test_errors_of_the_other_process_are_raised_here(deploy, exported, apart, tmp_path):
    with pytest.raises(UserError, match="--device XPU: this Paddle was built without Kunlun"):
        deploy.detector.Detector(exported, "XPU", own_process=True)
    wrong = {"image": np.zeros((1, 3, 10, 10), np.float32)}
    wrong.update(im_shape=np.ones((1, 2), np.float32), scale_factor=np.ones((1, 2), np.float32))
    with pytest.raises(UserError, match=f"{exported}: Paddle cannot run this model"):
        apart.engine.run(wrong)
    assert len(apart.predict([frame_image(1)])) == 1  # it still runs


def test_a_process_that_dies_is_said(deploy, exported):
    detector = deploy.detector.Detector(exported, cpu_threads=1, own_process=True)
    os.kill(detector.engine._process.pid, signal.SIGKILL)
    with pytest.raises(UserError) as caught:
        detector.predict([frame_image(1)])
    assert str(caught.value) == (
        f"{exported}: the process of the network ended (signal 9; signal 9 often means that the "
        "memory was used up)"
    )
    detector.close()


def test_ctrl_c_while_the_other_process_starts(deploy, exported, monkeypatch):
    """It ends without a word: it ignores Ctrl-C from its first moment and is not asked to end."""
    seen = []

    def interrupted(self):
        status = Path(f"/proc/{self._process.pid}/status")
        if status.exists():  # Linux
            ignored = next(x for x in status.read_text().splitlines() if x.startswith("SigIgn:"))
            assert int(ignored.split()[1], 16) & 1 << (signal.SIGINT - 1)
        seen.append(self._process)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(deploy.engine_process.EngineProcess, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        deploy.detector.Detector(exported, own_process=True)
    assert seen[0].exitcode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGINT) is before
