"""File names that are not UTF-8, and terminals that cannot show those that are."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from ppdet_lite.cli.deploy import main
from ppdet_lite.core.errors import DataError
from ppdet_lite.runtime.frames.results import VideoFile, open_alone

LATIN = b"lat\xfcn"
"""A name in Latin-1."""


def run_script(repo, folder, arguments, **environment):
    """infer.py with arguments as text or bytes, in `folder`."""
    command = [sys.executable, str(repo / "deploy/python/infer.py"), *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, timeout=120, env={**os.environ, **environment}
    )


@pytest.fixture
def latin_folder(tiny_coco, tmp_path):
    """`in/` with one image of such a name and a plain one."""
    folder = tmp_path / "in"
    folder.mkdir()
    try:
        shutil.copy(
            tiny_coco / "images" / "val_0.jpg", os.fsencode(folder) + b"/" + LATIN + b".jpg"
        )
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    shutil.copy(tiny_coco / "images" / "val_1.jpg", folder / "z.jpg")
    return folder


def test_images_are_done(repo, exported, latin_folder, tmp_path):
    arguments = ["--model_dir", str(exported), "--image_dir", "in", "--output_dir", "out"]
    done = run_script(repo, tmp_path, [*arguments, "--save_results", "--cpu_threads", "1"])
    assert done.returncode == 0, done.stderr
    assert b"in/lat\\udcfcn.jpg: " in done.stderr
    name = os.fsdecode(LATIN)
    assert sorted(os.listdir(tmp_path / "out")) == sorted(
        ["bbox.json", f"{name}.jpg", f"{name}.json", "z.jpg", "z.json"]
    )
    content = json.loads((tmp_path / "out" / f"{name}.json").read_text("utf-8"))
    assert content["image"] == f"in/{name}.jpg"
    records = json.loads((tmp_path / "out" / "bbox.json").read_text("utf-8"))
    assert {record["file_name"] for record in records} == {f"in/{name}.jpg", "in/z.jpg"}


def test_videos_models_and_streams_are_refused(exported, latin_folder):
    name = os.fsdecode(LATIN)
    video = latin_folder / f"{name}.jpg"
    cases = [
        (
            ["--model_dir", str(exported), "--video_file", str(video)],
            f"`video_file` {latin_folder}",
        ),
        (["--model_dir", str(exported), "--rtsp", f"rtsp://{name}"], "`rtsp` rtsp:/"),
        (["--model_dir", name, "--image_file", str(latin_folder / "z.jpg")], "`model_dir` "),
    ]
    for arguments, start in cases:
        with pytest.raises(DataError) as caught:
            main([*arguments, "--output_dir", str(latin_folder / "out")])
        message = str(caught.value)
        assert message.startswith(start) and "lat\\xfcn" in message
        assert "the name is not UTF-8 and " in message and message.endswith("; rename it")


def test_results_of_a_video(tmp_path):
    """A folder of such a name cannot hold a video; the lines of JSON can name any source."""
    folder = tmp_path / os.fsdecode(LATIN)
    with pytest.raises(DataError, match="OpenCV's writer of videos cannot take it"):
        VideoFile(folder / "v", 25)
    with open_alone(tmp_path / "a.jsonl") as file:
        file.write(os.fsdecode(LATIN))
    assert (tmp_path / "a.jsonl").read_text() == "lat\\udcfcn"


def test_a_name_that_the_terminal_cannot_show(repo, exported, tmp_path):
    import cv2
    import numpy as np

    path = tmp_path / "straße.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    arguments = ["--model_dir", str(exported), "--video_file", path.name, "--output_dir", "out"]
    done = run_script(
        repo, tmp_path, [*arguments, "--cpu_threads", "1"], PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"--video_file stra\\xdfe.avi: 1 frames, ")
