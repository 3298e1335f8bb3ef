"""Every kind of network among the shipped configurations has a float16 form near to it."""

import numpy as np
import paddle
import pytest

from ppdet_lite.benchmark.random_weights import set_random_weights
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export.calibration import Calibration
from ppdet_lite.export.check import load_images
from ppdet_lite.export.compare import FLOAT16, raw_agree
from ppdet_lite.export.formats.onnx_format import OnnxFormat
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.rewrite.network import exported_network
from ppdet_lite.export.run import describe_export
from ppdet_lite.runtime.contract import HALF_FILES, ONNX_FILE, PORTABLE_FILE
from ppdet_lite.runtime.engines.engine import stack_samples
from tests.export.test_export_family import (
    ONNX_NETWORKS,
    WHY_NO_ONNX,
    narrow,
)

if WHY_NO_ONNX:
    pytest.skip(WHY_NO_ONNX, allow_module_level=True)

import onnx  # noqa: E402

from ppdet_lite.export.onnx.cpu_session import CpuSession  # noqa: E402
from ppdet_lite.export.onnx.float16.half import HALF  # noqa: E402
from ppdet_lite.export.onnx.float16.half_simulation import SimulatedHalf  # noqa: E402


@pytest.mark.parametrize("name", ONNX_NETWORKS)
def test_float16_is_near(name, tmp_path):
    cfg = narrow(name, "TestReader.inputs_def.image_shape=[3, 64, 96]")
    set_random_weights(cfg, tmp_path / "random.pdparams", (64, 96))
    model, _ = load_trained_model(cfg)
    options = ExportOptions(["onnx"], stage="nms", portable_dcn=True).for_config(cfg)
    form = OnnxFormat()
    config = describe_export(cfg, model, None, options, [form])
    form.write(exported_network(model, options), tmp_path, options)
    form.write_half(tmp_path, Calibration("the images", load_images(), config))

    for file in (ONNX_FILE, PORTABLE_FILE):
        half = tmp_path / HALF_FILES[file]
        assert half.is_file() == (tmp_path / file).is_file()
        if not half.is_file():
            continue
        exact, rounded = onnx.load(str(tmp_path / file)), onnx.load(str(half))
        onnx.checker.check_model(rounded, full_check=True)
        assert [*rounded.graph.input, *rounded.graph.output] == [
            *exact.graph.input,
            *exact.graph.output,
        ]
        kinds = [tensor.data_type for tensor in rounded.graph.initializer if len(tensor.dims) == 4]
        assert kinds.count(HALF) > 0.4 * len(kinds)
        engine = SimulatedHalf(half)
        inputs = stack_samples(
            [config.make_preprocess()(image) for image in load_images().values()]
        )
        found = engine.run(inputs)[-engine.raw_count :]
        expected = [level.numpy() for level in model.raw_outputs(paddle.to_tensor(inputs["image"]))]
        agreement = raw_agree(expected, found, tolerances=FLOAT16)
        assert agreement.complaint is None and agreement.gaps["of the norm"] > 1e-5
        boxes = CpuSession(rounded, half).run(inputs)[0]
        assert boxes.shape[-1] == 6 and np.isfinite(boxes).all()
