"""The library of deploy/cpp from other programs: Paddle, the README's code, TensorRT's cache."""

import hashlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.detector import Detector

PADDLE = """
import ctypes, sys
from pathlib import Path
import paddle
ctypes.CDLL(str(Path(paddle.__path__[0], "base", "libpaddle.so")), ctypes.RTLD_GLOBAL)
"""
"""Loads Paddle, whose functions the library takes."""


def code_of_readme(repo, name):
    page = (repo / "deploy" / "cpp" / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"```\w+ {re.escape(name)}\n(.*?)```", page, re.DOTALL)
    return code


def run_python(code, *arguments, code_at_end=0, **environment):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **environment)
    assert done.returncode == code_at_end, done.stderr
    return done


@pytest.fixture(scope="module")
def arrays(photos, tmp_path_factory):
    """Photos as files of numpy: the process that loads Paddle has no other OpenCV then."""
    folder = tmp_path_factory.mktemp("arrays")
    for photo in photos:
        np.save(folder / f"{photo.stem}.npy", decode_image(photo))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("kind, batch", [("fixed", 1), ("fixed", 4), ("four", 4), ("padded", 2)])
def test_paddle_from_cpp_gives_the_boxes_of_python(
    repo, with_paddle, nano, photos, arrays, kind, batch
):
    """The README's program for Python is the one that calls the library."""
    detector = Detector(nano[kind])
    library = next(with_paddle.glob("libppdet.*"))
    for start in range(0, 8, batch):
        part = slice(start, start + batch)
        code = PADDLE + code_of_readme(repo, "detect.py")
        lines = run_python(code, library, nano[kind], "paddle", *arrays[part]).stdout.splitlines()
        found = [line.split() for line in lines]
        reference = detector.predict([decode_image(photo) for photo in photos[part]])
        rows = np.array([words[-6:] for words in found], np.float64)
        assert [int(words[0]) for words in found] == [
            number for number, boxes in enumerate(reference) for _ in boxes
        ]
        np.testing.assert_allclose(rows, np.concatenate(reference), atol=1e-3, rtol=0)


def test_errors_come_as_text(repo, with_paddle, nano, arrays, tmp_path):
    library = next(with_paddle.glob("libppdet.*"))
    code = PADDLE + code_of_readme(repo, "detect.py")

    def error_of(*arguments):
        return run_python(code, library, *arguments, code_at_end=1).stderr

    assert "no such folder" in error_of(tmp_path / "gone", "paddle", arrays[0])
    assert "allowed in this build: paddle" in error_of(nano["fixed"], "openvino", arrays[0])
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 3), np.uint8))
    assert "images[0]: no pixels" in error_of(nano["fixed"], "paddle", tmp_path / "none.npy")


def test_the_program_of_the_readme_detects(repo, with_openvino, sanitized, nano, photos, tmp_path):
    source = tmp_path / "detect.cpp"
    source.write_text(code_of_readme(repo, "detect.cpp"))
    command = ["g++", "-std=c++17", "-fsanitize=address,undefined", str(source), "-o"]
    command += [str(tmp_path / "detect"), f"-I{repo / 'deploy' / 'cpp' / 'include'}"]
    command += ["-isystem", "/usr/include/opencv4", f"-L{with_openvino}", "-lppdet"]
    command += ["-lopencv_core", f"-Wl,-rpath,{with_openvino}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

    def detect(*arguments):
        return subprocess.run(
            [str(tmp_path / "detect"), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            env=sanitized,
        )

    rows = Detector(nano["fixed"], engine="openvino").predict([decode_image(photos[0])])[0]
    shown = detect(nano["fixed"], photos[0])
    assert len(shown.stdout.splitlines()) == np.count_nonzero(rows[:, 1] >= 0.5), shown.stderr
    assert detect("gone", photos[0]).returncode == 2 and detect().returncode == 2


CUDA = """
#include <cstring>
extern "C" int cudaGetDeviceProperties(void* properties, int) {
  std::strcpy(static_cast<char*>(properties), "Test GPU");
  return 0;
}
"""
"""What a machine with a GPU says about it."""


def test_both_languages_name_the_same_cache(repo, with_paddle, nano, arrays, tmp_path, monkeypatch):
    """The folder of TensorRT's engines is found by a hash of all that they depend on."""
    import paddle

    from ppdet_lite.runtime.contract import ModelFolder
    from ppdet_lite.runtime.engines.tensorrt import TensorRTSetup
    from ppdet_lite.runtime.options import EngineOptions, TensorRTOptions

    (tmp_path / "cuda.cpp").write_text(CUDA)
    command = ["g++", "-shared", "-fPIC", "cuda.cpp", "-o", "libcudart.so"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    (tmp_path / "trt.cpp").write_text(TENSORRT_PROGRAM)
    library = next(with_paddle.glob("libppdet.*"))
    command = ["g++", "-std=c++17", "-shared", "-fPIC", "trt.cpp", "-o", "libtrt.so"]
    command += [f"-I{repo / 'deploy' / 'cpp' / 'include'}", "-isystem", "/usr/include/opencv4"]
    command += [str(library), f"-Wl,-rpath,{library.parent}"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    code = PADDLE + "ctypes.CDLL(sys.argv[1]).open_tensorrt(*map(str.encode, sys.argv[2:]))"
    arguments = [tmp_path / "libtrt.so", nano["fixed"], tmp_path / "cpp"]
    done = run_python(code, *arguments, env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert "in Python only" in done.stdout  # Paddle's conversion of model.json

    monkeypatch.setattr(paddle.device.cuda, "get_device_name", lambda device: "Test GPU")
    options = EngineOptions(
        device="GPU", run_mode="trt_fp16", tensorrt=TensorRTOptions(cache_dir=tmp_path / "python")
    )
    ours = TensorRTSetup(ModelFolder(nano["fixed"]), options).folder
    (theirs,) = (tmp_path / "cpp").iterdir()
    mine, other = (json.loads((folder / "about.json").read_text()) for folder in (ours, theirs))
    assert mine.pop("folder") == str(tmp_path / "python")
    assert other.pop("folder") == str(tmp_path / "cpp")
    assert mine == other
    other["folder"] = str(tmp_path / "cpp")
    text = json.dumps(other, sort_keys=True, separators=(",", ":"))
    assert theirs.name == f"fp16-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


TENSORRT_PROGRAM = """
#include <cstdio>
#include <ppdet/detector.hpp>

extern "C" void open_tensorrt(const char* model_dir, const char* cache_dir) {
  ppdet::Options options;
  options.device = "GPU";
  options.run_mode = "trt_fp16";
  options.cache_dir = cache_dir;
  try {
    ppdet::Detector detector(model_dir, options);
  } catch (const ppdet::Error& error) {
    std::puts(error.what());
  }
}
"""
