"""Files of exported models, damaged, in every engine, with checksums and without.

Without checksums only Paddle's parameters and .onnx files are damaged: a damaged graph can end
Paddle itself.
"""

import contextlib
import io

import numpy as np

from ppdet_lite.runtime.contract import CONFIG_FILE, InferConfig, ModelFolder
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.options import EngineOptions
from tests.fuzz.harness import Trial
from tests.fuzz.mutations import damage_bytes

NEEDS = ("onnx", "onnxruntime", "openvino")
SIZE = 8, 8
STEPS = [{"type": "Resize", "target_size": [8, 8], "keep_ratio": False}]
PLAIN = InferConfig(STEPS, ["a"], input_hw=SIZE)
FILES = {"paddle": ("model.json", "model.pdiparams"), "onnxruntime": ("model.onnx",)}
FILES["openvino"] = FILES["onnxruntime"]


def prepare(folder):
    """A network of two layers as Paddle and ONNX write it; its files are kept in `whole`."""
    whole = folder / "whole"
    if whole.is_dir():
        return
    import paddle

    net = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4))
    net.eval()
    spec = paddle.static.InputSpec([1, 3, *SIZE], "float32", name="image")
    paddle.jit.save(net, str(whole / "model"), [spec])
    (whole / "model.onnx").write_bytes(_onnx_model(net[0].weight.numpy()))


def _onnx_model(weight):
    from onnx import TensorProto, helper, numpy_helper

    shapes = {"image": [1, 3, *SIZE], "found": [1, 4, 6, 6]}
    image, found = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    node = helper.make_node("Conv", ["image", "weight"], ["found"], kernel_shape=[3, 3])
    tensor = numpy_helper.from_array(weight, "weight")
    graph = helper.make_graph([node], "net", [image], [found], [tensor])
    opset = [helper.make_opsetid("", 19)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def trial(rnd, folder):
    """One damaged file of an export."""
    has_checksums = rnd.random() < 0.5
    engine = rnd.choice(list(FILES))
    graph_is_safe = has_checksums or engine != "paddle"
    damaged = rnd.choice(FILES[engine]) if graph_is_safe else FILES["paddle"][1]
    for path in (folder / "whole").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = PLAIN.with_files(folder / "whole") if has_checksums else PLAIN
    config.write(folder / CONFIG_FILE)
    data, label = damage_bytes(rnd, (folder / damaged).read_bytes())
    (folder / damaged).write_bytes(data)
    if rnd.random() < 0.05:
        (folder / damaged).unlink()
    label = f"{engine}, {damaged}, {'with' if has_checksums else 'without'} checksums: {label}"
    return Trial(label, lambda: _run(folder, engine), (damaged, "model.json"))


def _run(folder, engine):
    with contextlib.redirect_stderr(io.StringIO()):  # oneDNN that cannot go on
        opened = open_engine(ModelFolder(folder, engine), EngineOptions(engine, cpu_threads=1))
        return opened.run({"image": np.zeros((1, 3, *SIZE), np.float32)})
