"""Builds of deploy/cpp and models for it."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ppdet_lite.utils.files import lock_file

HEADERS = ("opencv4/opencv2/core.hpp", "yaml-cpp/yaml.h", "nlohmann/json.hpp", "CLI/CLI.hpp")
"""Of the packages libopencv-dev, libyaml-cpp-dev, nlohmann-json3-dev, libcli11-dev."""


FAST = ("-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O0 -g1")
"""Compiles in a third of the time of -O2 -g."""


@contextlib.contextmanager
def shared_folder(tmp_path_factory, name):
    """The path `name`, the same one in all processes of the tests, which enter one by one."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with open(f"{folder}.lock", "w") as lock:
        lock_file(lock, wait=True)
        yield folder


def build(repo, tmp_path_factory, name, *options):
    """The folder `name` with deploy/cpp built in it, once for all processes of the tests; skips
    where something for it is not installed.
    """
    missing = [name for name in ("cmake", "g++") if shutil.which(name) is None]
    missing += [name for name in HEADERS if not (Path("/usr/include") / name).is_file()]
    if missing:
        pytest.skip(f"building deploy/cpp needs {', '.join(missing)} (deploy/cpp/README.md)")
    with shared_folder(tmp_path_factory, name) as folder:
        for command in (  # of which the second process finds everything done
            ["cmake", "-S", str(repo / "deploy" / "cpp"), "-B", str(folder), *FAST, *options],
            ["cmake", "--build", str(folder), "-j", "2"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=900)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def with_openvino(repo, tmp_path_factory):
    """The library and the command with OpenVINO, under the sanitizers."""
    openvino = pytest.importorskip("openvino")
    cmake = Path(openvino.__path__[0]) / "cmake"
    options = [f"-DOpenVINO_DIR={cmake}", "-DPPDET_SANITIZE=ON"]
    options += ["-DCMAKE_UNITY_BUILD=ON"]  # half the time; with_paddle compiles file by file
    return build(repo, tmp_path_factory, "cpp_openvino", *options)


@pytest.fixture(scope="session")
def with_paddle(repo, tmp_path_factory):
    """The library with Paddle; it takes the functions of Paddle from the process."""
    header = repo / "tests" / "deploy" / "cpp"
    options = [f"-DPADDLE_INFERENCE_DIR={header}", "-DPPDET_TOOL=OFF"]
    options += ["-DCMAKE_DISABLE_FIND_PACKAGE_OpenVINO=ON"]
    return build(repo, tmp_path_factory, "cpp_paddle", *options)


@pytest.fixture(scope="session")
def sanitized(repo, with_openvino, tmp_path_factory):
    """Environment of programs under the sanitizers."""
    library = tmp_path_factory.mktemp("preloaded") / "no_deepbind.so"
    source = repo / "tests" / "deploy" / "cpp" / "no_deepbind.cpp"
    command = ["g++", "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run(command, check=True, timeout=60)
    # OpenVINO keeps memory to the end of the process.
    options = "detect_leaks=0:verify_asan_link_order=0"
    return {"ASAN_OPTIONS": options, "LD_PRELOAD": str(library), "PATH": "/usr/bin:/bin"}


@pytest.fixture(scope="session")
def infer(with_openvino, sanitized):
    """Runs ppdet_infer with options; returns the finished process."""

    def run(*options, code=0):
        engine = [] if "--engine" in options else ["--engine", "openvino"]
        command = [with_openvino / "ppdet_infer", *engine, *options]
        options = {"capture_output": True, "text": True, "errors": "surrogateescape"}
        command = list(map(str, command))
        done = subprocess.run(command, timeout=300, env=sanitized, **options)
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        assert done.returncode == code, done.stderr + done.stdout
        return done

    return run


@pytest.fixture(scope="session")
def nano(repo, shared_dir, tmp_path_factory):
    """YOLOX-nano with real weights, exported for a fixed and an open size and for batches of 4."""
    pytest.importorskip("onnx")
    with shared_folder(tmp_path_factory, "nano") as folder:
        if not (folder / "done").is_file():
            export_nano(repo, shared_dir, folder)
            (folder / "done").touch()
    return {kind.name: next(kind.iterdir()) for kind in folder.iterdir() if kind.is_dir()}


def export_nano(repo, shared_dir, folder):
    from ppdet_lite.commands.weights import convert
    from ppdet_lite.core.workspace import load_config
    from ppdet_lite.export.options import ExportOptions
    from ppdet_lite.export.run import export_model

    source = shared_dir / "weights" / "yolox_nano_coco_upstream_layout.npz"
    folder.mkdir()
    arguments = [str(source), "--output", str(folder / "nano.pdparams")]
    convert.main(convert.build_parser().parse_args(arguments))
    config = repo / "configs" / "yolox" / "upstream" / "yolox_nano_upstream_coco.yml"
    settings = [f"weights={folder / 'nano.pdparams'}", "use_gpu=false"]
    settings += ["UpstreamYOLOXHead.nms.keep_top_k=200"]  # a fixed size needs a number
    cfg = load_config(config, settings)
    kinds = {
        "fixed": {"precision": "fp16"},  # beside the files in float32
        "open": {"input_size": "dynamic"},
        "four": {"batch": 4},
        "padded": {"stage": "nms_fixed"},
    }
    options = {"formats": ("paddle", "onnx"), "portable_dcn": True}
    for name, kind in kinds.items():
        export_model(cfg, folder / name, ExportOptions(**options, **kind))
    steps = "[{Decode: {}}, {Resize: {target_size: [416, 416], keep_ratio: false, interp: 2}}, "
    steps += "{NormalizeImage: {mean: [0, 0, 0], std: [1, 1, 1], is_scale: false}}, {Permute: {}}]"
    cubic = load_config(config, [*settings, f"TestReader.sample_transforms={steps}"])
    export_model(cubic, folder / "cubic", ExportOptions(**options))


@pytest.fixture(scope="session")
def photos(shared_dir):
    """Real photos: 24 of COCO."""
    return sorted((shared_dir / "data" / "coco128" / "train2017").glob("*.jpg"))[:24]
