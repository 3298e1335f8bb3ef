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


BATCHES = """
import json
library, model_dir, options, program, size, *files = sys.argv[1:]
for start in range(0, len(files), int(size)):
    sys.argv = ["", library, model_dir, options, *files[start : start + int(size)]]
    print("batch", start)
    exec(program, {})
"""
"""Runs the README's program for Python on files, batch by batch."""


def boxes_of_paddle(repo, with_paddle, model_dir, options, arrays, batch=1):
    """Rows [M, 6] of each image, by the library."""
    library = next(with_paddle.glob("libppdet.*"))
    program = code_of_readme(repo, "detect.py")
    arguments = [library, model_dir, json.dumps(options), program, batch, *arrays]
    found = [[] for _ in arrays]
    for line in run_python(PADDLE + BATCHES, *arguments).stdout.splitlines():
        words = line.split()
        if words[0] == "batch":
            start = int(words[1])
        else:
            found[start + int(words[0])].append([float(word) for word in words[-6:]])
    return found


@pytest.mark.parametrize(
    "kind, batch, size",
    [
        ("fixed", 1, None),
        ("fixed", 4, None),
        ("open", 1, [320, 416]),
        ("open", 4, [416, 416]),
        ("four", 4, None),
        ("padded", 2, None),
    ],
)
def test_paddle_from_cpp_gives_the_boxes_of_python(
    repo, with_paddle, nano, photos, arrays, kind, batch, size
):
    options = {"engine": "paddle", "batch_size": batch, **({"input_size": size} if size else {})}
    found = boxes_of_paddle(repo, with_paddle, nano[kind], options, arrays, batch)
    detector = Detector(nano[kind], input_size=size)
    count = 0
    for start in range(0, len(photos), batch):
        images = [decode_image(photo) for photo in photos[start : start + batch]]
        for rows, reference in zip(found[start:], detector.predict(images)):
            ours = np.array(rows).reshape(-1, 6)
            np.testing.assert_allclose(ours, reference, atol=1e-3, rtol=0)
            count += len(ours)
    assert count > 20 * len(photos)


def test_kernels_of_paddle_are_chosen(repo, with_paddle, nano, photos, arrays):
    """Without oneDNN, and with it in bfloat16, as far as this processor has it."""
    images = [decode_image(photos[0])]
    for options in ({"enable_mkldnn": False}, {"enable_mkldnn_bfloat16": True}):
        (found,) = boxes_of_paddle(repo, with_paddle, nano["fixed"], options, arrays[:1])
        (reference,) = Detector(nano["fixed"], **options).predict(images)
        np.testing.assert_allclose(np.array(found), reference, atol=1e-3, rtol=0)


ERRORS = """
import json
library, program, *calls = sys.argv[1:]
for call in calls:
    sys.argv = ["", library, *json.loads(call)]
    try:
        exec(program, {})
    except SystemExit as error:
        print(error)
"""
"""Runs the README's program for Python with arguments that it ends with; prints its last lines."""


def test_errors_come_as_text(repo, with_paddle, nano, arrays, tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 3), np.uint8))
    model, image = nano["fixed"], arrays[0]
    expected = [
        ((tmp_path / "gone", "", image), "no such folder"),
        ((model, '{"engine": "openvino"}', image), "allowed in this build: paddle"),
        ((model, '{"size": 320}', image), "options: found size, allowed: batch_size, calib_dir, "),
        ((model, '{"input_size": [320]}', image), "options.input_size: found a list of 1, allowed"),
        ((model, '{"input_size": 320}', image), "--input_size: .* takes one size only"),
        ((model, '{"precision": "fp16"}', image), "--engine paddle has --run_mode trt_fp16"),
        ((model, '["paddle"]', image), "options: found no mapping"),
        ((model, '{"engine": ', image), "options: neither JSON nor YAML"),
        ((model, "", tmp_path / "none.npy"), r"images\[0\]: no pixels"),
    ]
    library = next(with_paddle.glob("libppdet.*"))
    calls = [json.dumps(list(map(str, arguments))) for arguments, _ in expected]
    program = code_of_readme(repo, "detect.py")
    lines = run_python(PADDLE + ERRORS, library, program, *calls).stdout.splitlines()
    assert len(lines) == len(expected)
    for line, (_, problem) in zip(lines, expected):
        assert line.startswith("error: ") and re.search(problem, line), line


def test_the_short_way_to_a_detector(with_paddle, nano):
    library = next(with_paddle.glob("libppdet.*"))
    code = (
        PADDLE
        + """
ppdet = ctypes.CDLL(sys.argv[1])
ppdet.ppdet_create.restype, ppdet.ppdet_error.restype = ctypes.c_void_p, ctypes.c_char_p
assert ppdet.ppdet_create(sys.argv[2].encode(), b"paddle", 2, 1), ppdet.ppdet_error()
assert not ppdet.ppdet_create(sys.argv[2].encode(), b"paddle", -1, 1)
print(ppdet.ppdet_error().decode())
"""
    )
    assert "--cpu_threads: found -1" in run_python(code, library, nano["fixed"]).stdout


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
    from ppdet_lite.runtime.engines.paddle_inference import BFLOAT16_SETS
    from ppdet_lite.runtime.engines.tensorrt import TensorRTSetup
    from ppdet_lite.runtime.options import EngineOptions, TensorRTOptions
    from ppdet_lite.utils.cpu import cpu_has_any

    (tmp_path / "cuda.cpp").write_text(CUDA)
    command = ["g++", "-shared", "-fPIC", "cuda.cpp", "-o", "libcudart.so"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    (tmp_path / "trt.cpp").write_text(TENSORRT_PROGRAM)
    library = next(with_paddle.glob("libppdet.*"))
    command = ["g++", "-std=c++17", "-shared", "-fPIC", "trt.cpp", "-o", "libtrt.so"]
    command += [f"-I{repo / 'deploy' / 'cpp' / 'include'}", "-isystem", "/usr/include/opencv4"]
    command += [str(library), f"-Wl,-rpath,{library.parent}"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    code = PADDLE + "library, model_dir, cache_dir = map(str.encode, sys.argv[1:])\n"
    code += "library = ctypes.CDLL(library.decode())\n"
    code += "library.open_tensorrt(model_dir, cache_dir)\nlibrary.run_bfloat16(model_dir)"
    arguments = [tmp_path / "libtrt.so", nano["fixed"], tmp_path / "cpp"]
    done = run_python(code, *arguments, env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert "in Python only" in done.stdout  # Paddle's conversion of model.json
    # oneDNN has no bfloat16 for the cut into four of YOLOX's first layer: Paddle's kernels go on.
    has_bfloat16 = cpu_has_any(BFLOAT16_SETS)
    expected = (
        "oneDNN is off: .* cannot run" if has_bfloat16 else "bfloat16 is off: this CPU has no"
    )
    assert re.search(f"kernels {'paddle' if has_bfloat16 else 'oneDNN'}\n{expected}", done.stdout)

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

extern "C" void run_bfloat16(const char* model_dir) {
  ppdet::Options options;
  options.onednn_bfloat16 = true;
  ppdet::Detector detector(model_dir, options);
  detector.predict({cv::Mat(64, 64, CV_8UC3, cv::Scalar(0, 0, 0))});
  std::printf("kernels %s\\n", detector.kernels().c_str());
  for (const std::string& remark : detector.remarks()) std::puts(remark.c_str());
}

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
