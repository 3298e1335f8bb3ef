"""Repositories for Triton, read by the published definition of their configuration."""

import numpy as np
import pytest

from ppdet_lite.commands import export as export_command
from ppdet_lite.core.errors import UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.export.serving.text_format import Name, text_format
from ppdet_lite.export.serving.triton import check_options, model_config, write_repository
from ppdet_lite.runtime.contract import InferConfig

TYPES = {1: "TYPE_FP32", 6: "TYPE_INT32"}  # of ONNX


def parsed(text):
    """A ModelConfig by tritonclient's definition."""
    definition = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format as protobuf

    return protobuf.Parse(text, definition.ModelConfig())


def type_name(config, tensor):
    return (
        type(config)
        .DESCRIPTOR.file.enum_types_by_name["DataType"]
        .values_by_number[tensor.data_type]
        .name
    )


def dims(config, tensor):
    """The dimensions of a tensor with the batch, as Triton hands it to the network."""
    inner = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
    return [-1] * (config.max_batch_size > 0) + list(inner)


@pytest.fixture(scope="module")
def repository(small_config, mild_settings, tmp_path_factory):
    """The repository of a toy export in both formats, by the command line."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("triton")
    arguments = ["-c", str(small_config), "-o", *mild_settings, "--output_dir", str(folder)]
    arguments += ["--format", "onnx", "paddle-legacy", "--portable-dcn"]
    arguments += ["--triton", str(folder / "models")]
    export_command.main(export_command.build_parser().parse_args(arguments))
    return folder / "models"


def assert_is_the_graph(config, path):
    """The names, types and dimensions of a configuration are those of an .onnx."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(path)).graph
    for tensors, values in ((config.input, graph.input), (config.output, graph.output)):
        assert [one.name for one in tensors] == [one.name for one in values]
        for tensor, value in zip(tensors, values):
            kind = value.type.tensor_type
            assert type_name(config, tensor) == TYPES[kind.elem_type]
            shape = [dim.dim_value or -1 for dim in kind.shape.dim]
            assert dims(config, tensor) == shape, tensor.name


def test_the_model_for_onnx_runtime(repository):
    folder = repository / "small_onnx"
    config = parsed((folder / "config.pbtxt").read_text())
    assert (config.name, config.backend, config.max_batch_size) == ("small_onnx", "onnxruntime", 0)
    assert_is_the_graph(config, folder / "1" / "model.onnx")
    assert (folder / config.output[0].label_filename).read_text() == "square\ncircle\n"
    assert '"Resize"' in config.parameters["preprocess"].string_value
    assert config.parameters["stage"].string_value == "nms"


def test_the_model_for_paddle(repository):
    from paddle.inference import create_predictor

    from ppdet_lite.runtime.engines.paddle_predictor import bind_inputs, new_config

    folder = repository / "small_paddle"
    config = parsed((folder / "config.pbtxt").read_text())
    assert (config.name, config.backend, config.max_batch_size) == ("small_paddle", "paddle", 0)
    assert config.instance_group[0].kind == config.instance_group[0].KIND_GPU
    graph, params = folder / "1" / "model.pdmodel", folder / "1" / "model.pdiparams"
    predictor = create_predictor(new_config(graph, params, "CPU"))
    sizes = {tensor.name: [3 if d == -1 else d for d in tensor.dims] for tensor in config.input}
    bind_inputs(predictor, {name: np.ones(size, np.float32) for name, size in sizes.items()})
    predictor.run()
    for tensor in config.output:
        found = predictor.get_output_handle(tensor.name).copy_to_cpu()
        assert {"float32": "TYPE_FP32", "int32": "TYPE_INT32"}[str(found.dtype)] == type_name(
            config, tensor
        )
        assert len(found.shape) == len(tensor.dims)
        assert all(d in (-1, size) for d, size in zip(tensor.dims, found.shape))


def test_batches_of_triton_need_detections_of_a_fixed_size(small_config, mild_settings, tmp_path):
    pytest.importorskip("onnx")
    options = ExportOptions(formats=["onnx"], stage="nms_fixed", portable_dcn=True)
    settings = [*mild_settings, "BBoxPostProcess.nms.keep_top_k=10"]
    export = export_model(load_config(small_config, settings), tmp_path, options)
    (folder,) = write_repository(export, tmp_path / "models")
    text = (folder / "config.pbtxt").read_text()
    config = parsed(text)
    assert_is_the_graph(config, folder / "1" / "model.onnx")
    assert config.HasField("dynamic_batching") and config.max_batch_size == 8
    (folder / "1" / "old").write_text("")
    write_repository(export, tmp_path / "models")
    assert not (folder / "1" / "old").exists() and (folder / "config.pbtxt").read_text() == text
    (folder / "config.pbtxt").unlink()
    with pytest.raises(UserError, match="no config.pbtxt in it"):
        write_repository(export, tmp_path / "models")


def test_what_triton_cannot_run_is_refused(tmp_path, exported):
    with pytest.raises(UserError, match="`triton`: found `formats` paddle, allowed"):
        check_options(["paddle"], "nms")
    with pytest.raises(UserError, match="`triton`: found `stage` raw, allowed"):
        check_options(["onnx"], "raw")
    with pytest.raises(UserError, match="no model.onnx and no model.pdmodel"):
        write_repository(exported, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_any_text_survives_the_text_form():
    text = 'a "quoted" \\ name\nof two lines\t\r\x01 é 汉'
    message = {"name": text, "backend": "paddle", "input": [], "version_policy": {"all": {}}}
    config = parsed(text_format(message))
    assert config.name == text and config.version_policy.HasField("all")
    assert text_format({"kind": Name("A"), "dims": [1, 2]}) == "kind: A\ndims: [1, 2]\n"


def test_a_fixed_batch_is_that_of_a_request():
    config = InferConfig([], ["a"], stage="nms_fixed", batch=2, nms={"keep_top_k": 10})
    config = model_config("m", "onnx", config, ["image"], ["bbox", "bbox_num"])
    config = parsed(text_format(config))
    assert config.max_batch_size == 0 and not config.HasField("dynamic_batching")
    assert [list(one.dims) for one in config.output] == [[2, 10, 6], [2]]
    assert config.input[0].dims[0] == 2


def test_an_open_size_is_open_for_triton():
    config = InferConfig([], ["a"], stage="nms")
    message = model_config("m", "onnx", config, ["image", "scale_factor"], ["bbox", "bbox_num"])
    assert message["input"][0]["dims"] == [-1, 3, -1, -1]
    assert parsed(text_format(message)).input[1].dims == [-1, 2]
