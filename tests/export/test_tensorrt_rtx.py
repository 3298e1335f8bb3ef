"""TensorRT for RTX parses and builds what is exported, in float32, float16 and INT8; all of it
works without a GPU. The networks are small, with layers, decoding and NMS of all families."""

import re
from collections import Counter

import numpy as np
import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.export.calibration import Calibration
from ppdet_lite.export.graph import PADDLE_2
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.rewrite.network import exported_network
from ppdet_lite.runtime.contract import ONNX_FILE, PORTABLE_FILE, InferConfig
from ppdet_lite.runtime.engines.built_engines import input_shapes
from ppdet_lite.runtime.engines.engine import EngineError
from ppdet_lite.runtime.engines.tensorrt_builder import build_plan
from ppdet_lite.runtime.options import TensorRTOptions
from tests.export.test_export_family import NETWORKS, narrow

tensorrt_rtx = pytest.importorskip("tensorrt_rtx", reason="needs the package tensorrt-rtx")
onnx = pytest.importorskip("onnx")
if PADDLE_2:
    pytest.skip("ONNX files need Paddle 3", allow_module_level=True)

GPU = "SM89"
"""The graphics card to build for; none has to be here."""

OUTPUTS = {
    "raw": ["raw_0", "raw_1", "raw_2"],
    "decoded": ["boxes", "scores"],
    "nms_fixed": ["bbox", "bbox_num"],
}


STEPS = [
    {"type": "Resize", "target_size": [64, 96], "keep_ratio": False, "interp": 1},
    {"type": "NormalizeImage", "mean": [0.5] * 3, "std": [0.25] * 3},
    {"type": "Permute"},
]

INT8_NETWORKS = (
    "ppyolo/ppyolov2_r18vd_dcn_demo",
    "yolov3/yolov3_mobilenet_v1_270e_coco",
    "yolov4/yolov4_tiny_coco",
)
"""With deformable and depthwise convolutions, and Mish or Leaky ReLU behind others."""


def network(cfg):
    """The network of a configuration; untrained weights do."""
    model = create(cfg.architecture, cfg)
    model.eval()
    model.post_process.nms.arguments["keep_top_k"] = 3  # greedy NMS has its nodes for each row
    return model


def write(cfg, folder, model=None, **options):
    """The portable files of a network in float32 and float16."""
    from ppdet_lite.export.onnx.float16.half import float32_by_design, to_half
    from ppdet_lite.export.onnx.write import write_onnx

    model = model or network(cfg)
    options = ExportOptions(("onnx",), portable_dcn=True, **options).for_config(cfg)
    write_onnx(exported_network(model, options), folder, options)
    path = folder / PORTABLE_FILE
    path = path if path.is_file() else folder / ONNX_FILE
    full = onnx.load(str(path))
    half = folder / "half.onnx"
    onnx.save(to_half(full, float32_by_design(full)), str(half))
    return {"fp32": path, "fp16": half}


def test_raw_outputs_are_built_and_float16_makes_smaller_engines(small_config, tmp_path):
    """Of a network with deformable convolution; other stages are built for every kind below."""
    files = write(load_config(small_config), tmp_path, batch=1, stage="raw")
    full, half = (build_plan(tensorrt_rtx, files[name], target=GPU) for name in ("fp32", "fp16"))
    assert full.outputs == half.outputs == OUTPUTS["raw"]
    assert 1 << 20 < half.data.nbytes < 0.8 * full.data.nbytes


@pytest.fixture(scope="module")
def stage_of():
    """stage_of(model): its end, NMS inside where no network before had the same post-processing."""
    seen = set()

    def stage(model):
        kind = type(model.post_process.decode), type(model.post_process.nms)
        is_new = kind not in seen
        seen.add(kind)
        return "nms_fixed" if is_new else "decoded"

    return stage


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_is_built(name, tmp_path, stage_of):
    cfg = narrow(name)
    model = network(cfg)
    stage = stage_of(model)
    files = write(cfg, tmp_path, model, input_size=(64, 96), batch=2, stage=stage)
    for precision in ("fp32", "fp16"):
        plan = build_plan(tensorrt_rtx, files[precision], target=GPU)
        assert plan.outputs == OUTPUTS[stage]
    if name in INT8_NETWORKS:
        check_int8(files["fp32"], tmp_path / "int8.onnx", OUTPUTS[stage])


def check_int8(graph, target, outputs):
    """The file in INT8 is built, and exactly the convolutions that are to be in INT8 are so."""
    from ppdet_lite.export.onnx.int8.qdq import TENSORRT_STYLE, write_qdq

    rng = np.random.default_rng(0)
    photos = {str(i): rng.integers(0, 256, (64, 96, 3)).astype(np.uint8) for i in range(2)}
    images = Calibration("2", photos, InferConfig(STEPS, ["a"], input_hw=(64, 96), batch=2))
    layers = write_qdq(graph, images, target, TENSORRT_STYLE)
    plan = build_plan(tensorrt_rtx, target, target=GPU)
    assert plan.outputs == outputs
    types = types_of_convolutions(bytes(plan.data))
    assert layers.in_int8 > 10 and layers.in_float
    counts = {("float", "float"): len(layers.in_float), ("int8", "int8"): layers.in_int8}
    assert Counter(types) == counts


def types_of_convolutions(plan):
    """The types of image and weights of every convolution, which a plan holds as text: an inspector
    needs an engine, and that a GPU."""
    text = plan.decode("latin-1")
    blocks = re.findall(r"tensor=\{(?:[^{}]|\{[^{}]*\})*\}", text)
    facts = [(re.search(r'name="([^"]+)"', b), re.search(r" type=(\w+)", b)) for b in blocks]
    types = {name[1]: kind[1] for name, kind in facts if name and kind}
    inputs = re.findall(r'corrltn=\{ name="[^"]+" output=.*? input=\{"([^"]+)" "([^"]+)"', text)
    return [(types[image], types[weights]) for image, weights in inputs]


def test_sizes_that_are_open_are_built_for_a_range(small_config, tmp_path):
    path = write(load_config(small_config), tmp_path, input_size="dynamic", stage="raw")["fp32"]
    sides = TensorRTOptions(min_side=32, opt_side=64, max_side=96, batch_size=2)
    shapes = input_shapes(InferConfig([], ["a"]), sides)
    assert build_plan(tensorrt_rtx, path, shapes=shapes, target=GPU).outputs == OUTPUTS["raw"]
    with pytest.raises(EngineError, match="tensorrt_rtx cannot build this model: "):
        build_plan(tensorrt_rtx, path, target=GPU)


@pytest.mark.parametrize(
    ("stage", "portable", "operator"), [("raw", False, "DeformConv"), ("nms", True, "NonZero")]
)
def test_operators_that_it_cannot_take_are_named(small_config, tmp_path, stage, portable, operator):
    files = write(load_config(small_config), tmp_path, batch=1, stage=stage)
    path = files["fp32"] if portable else tmp_path / ONNX_FILE
    with pytest.raises(EngineError, match=rf"cannot read .*: operator {operator} \(node \S+\): "):
        build_plan(tensorrt_rtx, path, target=GPU)
