"""Models to run, and a Paddle that only notes what is asked of it for TensorRT."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import paddle.inference as inference
import pytest

from ppdet_lite.core.workspace import load_config
from ppdet_lite.evaluate.predictor import Predictor
from ppdet_lite.runtime import detector as runtime
from ppdet_lite.runtime.contract import CONFIG_FILE, InferConfig
from ppdet_lite.runtime.engines.tf32 import OVERRIDE
from ppdet_lite.weights.checkpoint import save_checkpoint
from ppdet_lite.weights.files import load_state


@pytest.fixture(autouse=True)
def _nobody_turned_tf32_off(monkeypatch):
    """Engines do so in the environment of their process."""
    monkeypatch.setenv(OVERRIDE, "1")
    monkeypatch.delenv(OVERRIDE)


@pytest.fixture(scope="session")
def trained(small_config):
    """The trained model that `exported` was made from."""
    return Predictor.from_config(load_config(small_config))


@pytest.fixture(scope="session")
def mild_config(small_config, tmp_path_factory):
    """`small_config` with logits a fifth as large: boxes of sides as real networks give them."""
    folder = tmp_path_factory.mktemp("mild")
    cfg = load_config(small_config)
    weights = load_state(cfg["weights"])
    for key, value in weights.items():
        if key.startswith("yolo_head."):
            weights[key] = value / 5
    save_checkpoint(str(folder), "mild", weights, {"class_names": ["square", "circle"]})
    return load_config(small_config, [f"weights={folder / 'mild'}"])


@pytest.fixture(scope="session")
def same_boxes():
    """Fails unless a deployed detector finds on images what the trained model finds."""
    from ppdet_lite.export.compare import compare_detections

    def check(trained, detector, images):
        for image, found in zip(images, detector.predict(images)):
            expected = trained(image)
            result = compare_detections(expected, found, 0.01, 100)
            assert len(expected) > 10
            assert len(result.lost) == len(result.extra) == 0
            assert result.matched >= len(expected) - 2

    return check


@pytest.fixture
def broken(exported, tmp_path):
    """A copy of the export, without checksums, that a test may damage."""
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    return without_checksums(folder)


def without_checksums(folder):
    """Takes the sizes and checksums out of infer_cfg.yml, as in exports of PaddleDetection."""
    config = InferConfig.read(folder / CONFIG_FILE)
    replace(config, files=None).write(folder / CONFIG_FILE)
    return folder


@pytest.fixture
def tiny_onnx(broken):
    """An export whose .onnx is a convolution: `image` [1, 3, 96, 128] -> `maps` [1, 4, 94, 126]."""
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    values = np.random.default_rng(0).normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["maps"], "the_conv")],
        "tiny",
        [helper.make_tensor_value_info("image", floats, [1, 3, 96, 128])],
        [helper.make_tensor_value_info("maps", floats, [1, 4, 94, 126])],
        [onnx.numpy_helper.from_array(values, "w")],
    )
    opset = [helper.make_opsetid("", 19)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), broken / "model.onnx")
    return broken


class NotingDetector:
    """A detector that finds nothing and notes how many images it gets at once."""

    class_names, threshold, category_ids = ["a"], 0.5, None

    def __init__(self):
        self.sizes = []

    def preprocess(self, image):
        return image

    def predict(self, images):
        self.sizes.append(len(images))
        return [np.zeros((0, 6), np.float32)] * len(images)

    run = predict

    def close(self):
        pass


@pytest.fixture
def nothing_found(monkeypatch):
    """What the command line opens is a detector that finds nothing."""
    monkeypatch.setattr(runtime, "Detector", lambda *arguments, **options: NotingDetector())


# --------------------------------------------------------------- TensorRT on machines without it
REAL_CONFIG = inference.Config


class Recorder:
    """Stands for paddle.inference on a machine with a GPU: Configs and predictors that note."""

    def __init__(self):
        self.calls = []  # one list of (name, args, kwargs) per Config
        self.runs = []  # one list of input shapes per predictor

    def config(self, graph, params):
        calls = [("files", (Path(graph).name, Path(params).name), {})]
        self.calls.append(calls)
        return RecordingConfig(calls, Path(graph))

    def predictor(self, config):
        runs = []
        self.runs.append(runs)
        return RecordingPredictor(self, config, runs)

    def call(self, name, number=-1):
        """(args, kwargs) of the only call of that name on a Config; None when it was not called."""
        found = [entry[1:] for entry in self.calls[number] if entry[0] == name]
        assert len(found) <= 1, found
        return found[0] if found else None


class RecordingConfig:
    def __init__(self, calls, graph):
        self.calls, self.graph = calls, graph

    def __getattr__(self, name):
        if not hasattr(REAL_CONFIG, name):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._note(name, args, kwargs)

    def use_gpu(self):
        return any(name == "enable_use_gpu" for name, *_ in self.calls)

    def use_xpu(self):
        return any(name == "enable_xpu" for name, *_ in self.calls)

    def _note(self, name, args, kwargs):
        signature = getattr(REAL_CONFIG, name).__doc__
        assert all(f"{key}: " in signature for key in kwargs), signature
        self.calls.append((name, args, kwargs))


class RecordingPredictor:
    """Writes the files that Paddle writes, when it goes, and where Paddle writes them."""

    def __init__(self, recorder, config, runs):
        self.recorder, self.runs, self.graph = recorder, runs, config.graph
        names = {entry[0]: entry for entry in config.calls}
        self.shapes = names.get("collect_shape_range_info")
        engine = names.get("enable_tensorrt_engine")
        self.calibrates = bool(engine and engine[2]["use_calib_mode"])
        cache = names.get("set_optim_cache_dir")
        if self.calibrates and any(Path(cache[1][0]).glob("trt_calib_*")):
            self.calibrates = False  # it reads the table

    def get_input_names(self):
        return ["image", "im_shape", "scale_factor"]

    def get_input_handle(self, name):
        shape = []
        handle = SimpleNamespace(reshape=shape.extend)
        handle.copy_from_cpu = lambda array: self._take(name, shape, array)
        return handle

    def _take(self, name, shape, array):
        assert list(array.shape) == shape and array.dtype == np.float32
        if name == "image":
            self.runs.append(tuple(shape))

    def run(self):
        pass

    def __del__(self):
        if self.shapes:
            Path(self.shapes[1][0]).write_text("shapes")
        if self.calibrates and self.runs:  # AnalysisPredictor::SaveTrtCalibToDisk
            folder = self.graph.parent / "_opt_cache"
            folder.mkdir(exist_ok=True)
            for engine in (1, 2):
                (folder / f"trt_calib_{engine}").write_text("ranges")


@pytest.fixture
def recorder(monkeypatch):
    """Paddle's Config and predictors only note what is asked of them."""
    recorder = Recorder()
    monkeypatch.setattr(inference, "Config", recorder.config)
    monkeypatch.setattr(inference, "create_predictor", recorder.predictor)
    return recorder


@pytest.fixture
def gpu(monkeypatch, recorder):
    """A Paddle with CUDA and TensorRT 8.6.1, as far as its answers go."""
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(paddle.device.cuda, "get_device_name", lambda number: "NVIDIA Test GPU")
    for name in ("get_trt_compile_version", "get_trt_runtime_version"):
        monkeypatch.setattr(inference, name, lambda: (8, 6, 1))
    return recorder
