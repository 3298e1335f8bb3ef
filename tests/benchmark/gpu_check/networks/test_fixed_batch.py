"""Exports for a fixed number of images, from those for any."""

import pytest

from ppdet_lite.benchmark.gpu_check.networks.fixed_batch import fix_batch
from ppdet_lite.runtime.contract import InferConfig
from tests.benchmark.test_against import write_detector

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def sides(entries):
    return {
        entry.name: [axis.dim_value for axis in entry.type.tensor_type.shape.dim]
        for entry in entries
    }


@pytest.mark.parametrize("batch", [1, 8])
def test_all_sizes_are_closed(tmp_path, batch):
    shape = ("im_shape", ["batch", 2], "float32")
    for name in ("model.onnx", "model_fp16.onnx"):
        write_detector(tmp_path / name, ["batch", 3, "h", "w"], others=[shape])
    config = InferConfig(preprocess=[], class_names=[], stage="raw", input_hw=(32, 64))
    config.write(tmp_path / "infer_cfg.yml")
    fix_batch(tmp_path, batch)
    for name in ("model.onnx", "model_fp16.onnx"):
        graph = onnx.load(str(tmp_path / name)).graph
        assert sides(graph.input) == {"images": [batch, 3, 32, 64], "im_shape": [batch, 2]}
        assert sides(graph.output) == {"mean": [], "im_shape_out": [batch, 2]}
    config = InferConfig.read(tmp_path / "infer_cfg.yml")
    assert config.batch == batch and set(config.files) == {"model.onnx", "model_fp16.onnx"}
    config.check_file(tmp_path / "model.onnx")
