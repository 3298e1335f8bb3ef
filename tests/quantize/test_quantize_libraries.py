"""Numbers of the INT8 files on a network of three convolutions, and layers that return to float."""

import logging
import signal

import numpy as np
import pytest

from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.export.calibration import Calibration
from ppdet_lite.quantize.onnx_files import OnnxRuntimeQuantizer, TensorRTQuantizer
from ppdet_lite.quantize.openvino_files import OpenVinoQuantizer
from ppdet_lite.quantize.quantizer import AccuracyControl
from ppdet_lite.runtime.contract import CONFIG_FILE, INT8_FILES, InferConfig, ModelFolder
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.options import EngineOptions

for package in ("onnx", "onnxruntime", "openvino", "nncf", "ml_dtypes"):
    pytest.importorskip(package, reason=f"needs the package {package}")

from ppdet_lite.export.onnx.graph import OnnxGraph  # noqa: E402

STEPS = [{"type": "NormalizeImage", "mean": [0.5] * 3, "std": [0.25] * 3}, {"type": "Permute"}]
CONFIG = InferConfig(STEPS, ["thing"], stage="raw", input_hw=None)
QUANTIZERS = {
    kind.engine: kind for kind in (OpenVinoQuantizer, OnnxRuntimeQuantizer, TensorRTQuantizer)
}


def photos(count, seed=0):
    rng = np.random.default_rng(seed)
    return {f"{i}": rng.integers(0, 256, (32, 32, 3)).astype(np.uint8) for i in range(count)}


@pytest.fixture
def folder(tmp_path):
    g, rng = OnnxGraph(prefix="toy"), np.random.default_rng(1)
    x, channels = g.input("image", "float32", [1, 3, 32, 32]), 3
    for name, outputs in (("first", 16), ("middle", 16), ("last", 4)):
        weights = rng.normal(0, channels**-0.5 / 3, (outputs, channels, 3, 3)).astype(np.float32)
        x = g.op("Conv", x, weights, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        g.graph.node[-1].name, channels = name, outputs
        if name != "last":
            x = g.op("Relu", x)
    g.output("raw_0", x, "float32", [1, 4, 32, 32])
    g.save(tmp_path / "model.onnx")
    CONFIG.write(tmp_path / CONFIG_FILE)
    return tmp_path


def outputs_of(folder, engine, precision):
    checked_by = QUANTIZERS[engine].checked_by
    engine = open_engine(
        ModelFolder(folder, engine, precision=precision),
        EngineOptions(checked_by, precision=precision, cpu_threads=1),
    )
    prepare = Preprocess(STEPS)
    return [engine.run({"image": prepare(x)["image"][None]})[0] for x in photos(3, 5).values()]


@pytest.mark.parametrize("engine", QUANTIZERS)
def test_errors_are_those_of_eight_bits(folder, engine):
    exact = outputs_of(folder, engine, "fp32")
    written = QUANTIZERS[engine]().write(
        folder / "model.onnx", Calibration("4", photos(4), CONFIG), folder
    )
    assert (len(written.float32_layers), written.int8_layers) == (1, 2)
    assert {path.name for path in folder.iterdir()} == {
        *(CONFIG_FILE, "model.onnx"),
        *INT8_FILES[engine],
    }
    for one, other in zip(exact, outputs_of(folder, engine, "int8")):
        gap = np.linalg.norm(one - other) / np.linalg.norm(one)
        assert 1e-4 < gap < 0.04


def test_handlers_of_others_on_the_logger_of_nncf_keep_their_level(folder):
    handler, logger = logging.Handler(logging.INFO), logging.getLogger("nncf")
    logger.addHandler(handler)
    calibration = Calibration("4", photos(4), CONFIG)
    OpenVinoQuantizer().write(folder / "model.onnx", calibration, folder)
    logger.removeHandler(handler)
    assert handler.level == logging.INFO


def test_layers_return_to_float_until_the_loss_is_allowed(folder):
    exact = [x.ravel() for x in outputs_of(folder, "openvino", "fp32")]
    prepare, asked = Preprocess(STEPS), []

    def closeness(run, indices):
        """Stands for AP: 1 of the exact outputs, less the further they are."""
        asked.append(list(indices))
        images = list(photos(3, 5).values())
        gaps = []
        for index in indices:
            output = run({"image": prepare(images[index])["image"][None]})[0].ravel()
            gaps.append(np.linalg.norm(output - exact[index]) / np.linalg.norm(exact[index]))
        return 1 - float(np.mean(gaps))

    calibration = Calibration("4", photos(4), CONFIG)
    control = AccuracyControl(1e-5, 3, closeness)
    written = OpenVinoQuantizer().write(folder / "model.onnx", calibration, folder, control)
    assert (written.int8_layers, len(written.float32_layers)) == (0, 3)
    assert [0, 1, 2] in asked
    with pytest.raises(KeyboardInterrupt):  # a segmentation fault on the stack that OpenVINO leaves
        signal.raise_signal(signal.SIGINT)
    for one, other in zip(exact, outputs_of(folder, "openvino", "int8")):
        np.testing.assert_allclose(other.ravel(), one, rtol=1e-4, atol=1e-4)
