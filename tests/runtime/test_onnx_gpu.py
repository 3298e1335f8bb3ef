"""ONNX Runtime's providers for GPUs: what is asked of them, noted by one that stands for them, and
the binding of memory, which runs for real on the CPU's."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from ppdet_lite.cli.deploy import build_parser, open_detector
from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines import onnx_providers
from ppdet_lite.runtime.engines.cuda_driver import CudaDevice
from ppdet_lite.runtime.engines.onnx_binding import DeviceBinding, check_fixed_sizes
from ppdet_lite.runtime.engines.onnx_providers import GPU_PROVIDERS, nodes_on_the_cpu
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.engines.tf32 import OVERRIDE
from ppdet_lite.runtime.options import PROVIDERS, EngineOptions, TensorRTOptions
from tests.runtime.gpu_fakes import STREAM, FakeDriver

CPU = "CPUExecutionProvider"
PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"


class Value:
    """An OrtValue of a device."""

    def __init__(self, shape, dtype, device, number):
        assert device == "cuda" and number == 0
        self.array = np.empty(shape, dtype)

    def shape(self):
        return list(self.array.shape)

    def update_inplace(self, array):
        assert array.shape == self.array.shape
        self.array[:] = array


class Binding:
    def __init__(self):
        self.inputs, self.outputs, self.synchronized = {}, {}, 0

    def bind_ortvalue_input(self, name, value):
        self.inputs[name] = value

    def bind_ortvalue_output(self, name, value):
        self.outputs[name] = value

    def bind_output(self, name, device):
        self.outputs[name] = device

    def synchronize_outputs(self):
        self.synchronized += 1

    def copy_outputs_to_cpu(self):
        return [value.array for value in self.outputs.values()]


class Session:
    """A network whose output is the sum of `image`, by image."""

    def __init__(self, module, path, options, providers, enable_fallback):
        assert enable_fallback == 0
        self.module, self.options = module, options
        self.asked = providers or options.asked
        self.bindings = []
        module.sessions.append(self)

    def disable_fallback(self):
        pass

    def get_providers(self):
        return [self.asked[0][0], CPU]

    def get_inputs(self):
        return [SimpleNamespace(name="image", shape=self.module.shape, type="tensor(float)")]

    def get_outputs(self):
        return [SimpleNamespace(name="sums", shape=self.module.shape[:1], type="tensor(float)")]

    def get_provider_graph_assignment_info(self):
        def part(provider, kinds):
            return SimpleNamespace(
                ep_name=provider,
                get_nodes=lambda: [SimpleNamespace(op_type=kind) for kind in kinds],
            )

        return [part(self.asked[0][0], ["Conv"] * 5), *map(part, *self.module.left)]

    def io_binding(self):
        self.bindings.append(Binding())
        return self.bindings[-1]

    def run_with_iobinding(self, binding):
        binding.outputs["sums"].array[:] = binding.inputs["image"].array.sum((1, 2, 3))


class Options(SimpleNamespace):
    def __init__(self):
        super().__init__(entries={}, asked=None)

    def add_session_config_entry(self, key, value):
        self.entries[key] = value

    def add_provider_for_devices(self, devices, options):
        self.asked = [(device.ep_name, options) for device in devices]


@pytest.fixture
def onnxruntime(monkeypatch):
    """An onnxruntime-gpu on a machine with a GPU, and the plugin of TensorRT for RTX."""
    names = [kind.name for kind in GPU_PROVIDERS.values()]
    registered = []

    def session(path, options, providers=None, enable_fallback=1):
        return Session(module, path, options, providers, enable_fallback)

    module = SimpleNamespace(
        __version__="1.99",
        __file__="nowhere/__init__.py",
        SessionOptions=Options,
        InferenceSession=session,
        OrtValue=SimpleNamespace(ortvalue_from_shape_and_type=Value),
        GraphOptimizationLevel=SimpleNamespace(ORT_DISABLE_ALL="none"),
        get_available_providers=lambda: [*names[:2], CPU],
        register_execution_provider_library=lambda *names: registered.append(names),
        get_ep_devices=lambda: [SimpleNamespace(ep_name=name) for name, _ in registered[:1]] * 2,
        sessions=[],
        shape=[1, 3, 96, 128],
        left=([], []),
    )
    plugin = SimpleNamespace(
        __version__="0.5", get_ep_name=lambda: names[2], get_library_path=lambda: "plugin.so"
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    monkeypatch.setitem(sys.modules, PLUGIN, plugin)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(onnx_providers, "CudaDevice", lambda: CudaDevice(FakeDriver()))
    monkeypatch.delenv(OVERRIDE, raising=False)
    return module


@pytest.fixture
def folder(broken):
    for name in ("model.onnx", "model_portable.onnx", "model_tensorrt_int8.onnx"):
        (broken / name).write_bytes(name.encode())
    return broken


def open_it(folder, provider, **options):
    chosen = EngineOptions("onnxruntime", "GPU", provider=provider, **options)
    return open_engine(ModelFolder(folder, chosen.reads, precision=chosen.precision), chosen)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_inputs_and_outputs_stay_in_place_on_the_device(folder, onnxruntime, provider):
    engine = open_it(folder, provider, cuda_graph=True)
    places = []
    for value in (1.0, 2.0):
        (sums,) = engine.run({"image": np.full((1, 3, 96, 128), value, np.float32)})
        assert sums.tolist() == [3 * 96 * 128 * value]
        (binding,) = onnxruntime.sessions[0].bindings
        places.append((binding.inputs["image"], binding.outputs["sums"]))
    assert places[0] == places[1] and binding.synchronized == 0
    engine.synchronize()
    assert binding.synchronized == 1
    assert engine.runs_on == f"{GPU_PROVIDERS[provider].name}, TF32 off, CUDA graph"


def test_the_settings_of_cuda(folder, onnxruntime):
    open_it(folder, None)
    open_it(folder, "cuda", tf32=True, cuda_graph=True)
    name = "CUDAExecutionProvider"
    first, second = (session.asked for session in onnxruntime.sessions)
    stream = {"user_compute_stream": str(STREAM)}
    assert first == [(name, {**stream, "use_tf32": "0", "enable_cuda_graph": "0"}), CPU]
    assert second == [(name, {**stream, "use_tf32": "1", "enable_cuda_graph": "1"}), CPU]


def test_the_settings_of_tensorrt(folder, onnxruntime):
    engine = open_it(folder, "tensorrt", cuda_graph=True)
    assert engine.graph.name == "model_portable.onnx" and engine.fixed_batch == 1
    (name, settings), last = onnxruntime.sessions[0].asked
    cache = settings["trt_engine_cache_path"]
    assert name == "TensorrtExecutionProvider" and last == CPU
    assert settings == {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": cache,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": cache,
        "trt_cuda_graph_enable": "1",
    }
    assert cache.startswith(str(folder / "trt_cache" / "onnxruntime_tensorrt-"))
    about = json.loads(Path(cache, "about.json").read_text())
    assert about["gpu"] == ["NVIDIA Test GPU", "9.0"] and about["onnxruntime"] == "1.99"


def test_the_settings_of_the_plugin(folder, onnxruntime, tmp_path):
    for _ in range(2):  # the library is registered once
        options = TensorRTOptions(cache_dir=tmp_path)
        engine = open_it(folder, "tensorrt_rtx", tensorrt=options)
    assert engine.graph.name == "model_portable.onnx"
    for session in onnxruntime.sessions:
        ((name, settings),) = session.asked
        assert name == "NvTensorRTRTXExecutionProvider" and settings["enable_cuda_graph"] == "0"
        assert settings["nv_runtime_cache_path"].startswith(f"{tmp_path}/onnxruntime_tensorrt_rtx-")


@pytest.mark.parametrize("provider", ["tensorrt", "tensorrt_rtx"])
def test_int8_is_left_as_it_is_in_the_file(folder, onnxruntime, provider):
    """ONNX Runtime would move the roundings that TensorRT reads; engines of all files lie apart."""
    engines = [open_it(folder, provider, precision=name) for name in ("fp32", "int8")]
    names = [engine.graph.name for engine in engines]
    assert names == ["model_portable.onnx", "model_tensorrt_int8.onnx"]
    levels = [
        getattr(session.options, "graph_optimization_level", None)
        for session in onnxruntime.sessions
    ]
    assert levels == [None, "none"]
    assert len(list((folder / "trt_cache").iterdir())) == 2


def test_sizes_that_are_open_have_profiles(folder, onnxruntime):
    path = folder / "infer_cfg.yml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "image_shape": [3, -1, -1]}))
    sides = TensorRTOptions(min_side=32, opt_side=64, max_side=96, batch_size=2)
    for provider, prefix in (("tensorrt", "trt"), ("tensorrt_rtx", "nv")):
        assert open_it(folder, provider, tensorrt=sides).fixed_batch is None
        settings = onnxruntime.sessions[-1].asked[0][1]
        pairs = "im_shape:{0}x2,scale_factor:{0}x2"
        for bound, shape in (("min", "1x3x32x32"), ("opt", "2x3x64x64"), ("max", "2x3x96x96")):
            expected = f"image:{shape}," + pairs.format(shape[0])
            assert settings[f"{prefix}_profile_{bound}_shapes"] == expected


@pytest.mark.parametrize("provider", ["tensorrt", "tensorrt_rtx"])
def test_tf32_of_providers_without_a_switch(folder, onnxruntime, provider, monkeypatch):
    """They take it from the environment, where it stays."""
    monkeypatch.setenv(OVERRIDE, "1")
    open_it(folder, provider, tf32=True)
    open_it(folder, provider)
    with pytest.raises(UserError, match=f"^`tf32`: {OVERRIDE} is 0"):
        open_it(folder, provider, tf32=True)
    with pytest.raises(UserError, match="^`tf32`: "):
        open_it(folder, "cuda", tf32=True)


def test_a_cuda_graph_needs_fixed_sizes(folder, onnxruntime):
    onnxruntime.shape = ["N", 3, 96, 128]
    match = r"^`cuda_graph`: found open sizes, image \['N', 3, 96, 128\], sums \['N'\]; export "
    with pytest.raises(UserError, match=match):
        open_it(folder, "cuda", cuda_graph=True)


def test_nodes_left_to_the_cpu_are_named(folder, onnxruntime, capsys):
    open_it(folder, "cuda")
    assert capsys.readouterr().err == ""
    onnxruntime.left = [CPU] * 2, [["NonZero"], ["Shape", "Shape"]]
    open_it(folder, "cuda")
    assert onnxruntime.sessions[0].options.entries == {
        "session.record_ep_graph_assignment_info": "1"
    }
    line = "ONNX Runtime CUDA: on the CPU run 3 of 8 nodes (Shape 2, NonZero 1)\n"
    assert capsys.readouterr().err == line
    onnxruntime.left = [CPU], [list("abcdef")]
    assert nodes_on_the_cpu(onnxruntime.sessions[0]).endswith("a 1, b 1, c 1, d 1, e 1, others)")


def test_a_plugin_that_is_missing_or_finds_nothing(folder, onnxruntime, monkeypatch):
    def refused(match):
        start = "^`provider` tensorrt_rtx, `device` GPU"
        with pytest.raises(UserError, match=start + match):
            open_it(folder, "tensorrt_rtx")

    def register(name, path):
        raise RuntimeError("FAIL : Failed to load library x.so with error: libcuda.so.1: cannot\n")

    onnxruntime.get_ep_devices = list
    refused(": NvTensorRTRTXExecutionProvider finds no GPU that it knows; pip install ")
    onnxruntime.register_execution_provider_library = register
    refused(": NvTensorRTRTXExecutionProvider cannot be loaded, libcuda.so.1: cannot; ")
    onnxruntime.__version__ = "1.24.1"
    refused(": found onnxruntime 1.24.1, allowed: 1.26 and later; pip install ")
    monkeypatch.setitem(sys.modules, PLUGIN, None)
    refused(f" needs the package {PLUGIN} ")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"provider": "rocm"}, "`provider`: found rocm, allowed: cuda, tensorrt, tensorrt_rtx"),
        ({"provider": "cuda"}, "`provider` needs `device` GPU and `engine` onnxruntime"),
        ({"provider": "cuda", "device": "GPU"}, "`provider` needs .* `engine` onnxruntime"),
        ({"engine": "openvino", "tf32": True}, "`tf32` needs `device` GPU and `engine` onnx"),
        ({"device": "GPU", "cuda_graph": True}, "`cuda_graph` needs .* `engine` onnxruntime, ten"),
        (
            {"engine": "onnxruntime", "device": "GPU", "precision": "int8"},
            "no INT8 conv.* for CUDA",
        ),
        ({"engine": "tensorrt"}, "`engine` tensorrt needs `device` GPU, found CPU"),
        ({"engine": "tensorrt_rtx", "device": "XPU"}, "needs `device` GPU, found XPU"),
        ({"engine": "tensorrt", "device": "GPU", "run_mode": "trt_fp16"}, "`run_mode` trt_fp16"),
    ],
)
def test_options_that_would_be_without_effect(options, match):
    with pytest.raises(UserError, match=match):
        EngineOptions(**options)


def test_the_command_line(folder, onnxruntime, capsys):
    arguments = ["--model_dir", str(folder), "--image_file", "a.jpg", "--engine", "onnxruntime"]
    arguments += ["--device", "gpu", "--provider", "tensorrt", "--cuda_graph", "--tf32", "true"]
    engine = open_detector(build_parser().parse_args(arguments)).engine
    assert engine.runs_on == "TensorrtExecutionProvider, TF32 on, CUDA graph"
    assert capsys.readouterr().err == f"running on {engine.runs_on}\n"


# ---------------------------------------------------------------------- the real one, on the CPU
def test_a_binding_of_fixed_and_open_outputs():
    """Boxes above 0.5, of which the number changes, and how many they are."""
    onnxruntime = pytest.importorskip("onnxruntime")
    helper, types = pytest.importorskip("onnx").helper, pytest.importorskip("onnx").TensorProto
    nodes = [
        helper.make_node("Greater", ["image", "half"], ["is_high"]),
        helper.make_node("Compress", ["image", "is_high"], ["found"], axis=0),
        helper.make_node("Shape", ["found"], ["count"]),
    ]
    graph = helper.make_graph(
        nodes,
        "found",
        [helper.make_tensor_value_info("image", types.FLOAT, [4])],
        [
            helper.make_tensor_value_info("found", types.FLOAT, ["M"]),
            helper.make_tensor_value_info("count", types.INT64, [1]),
        ],
        [helper.make_tensor("half", types.FLOAT, [], [0.5])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[CPU])
    binding = DeviceBinding(onnxruntime, session, "cpu")
    for values in ([0, 1, 0, 2], [0, 0, 0, 0], [3, 4, 5, 6]):
        binding.bind({"image": np.array(values, np.float32)})
        binding.run()
        binding.synchronize()
        found, count = binding.outputs()
        assert found.tolist() == [value for value in values if value > 0.5]
        assert count.tolist() == [len(found)]
    with pytest.raises(UserError, match=r"`cuda_graph`: found open sizes, found \['M'\]; "):
        check_fixed_sizes(session)


def test_the_cpus_nodes_are_told_by_the_real_one(tiny_onnx):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    path = str(tiny_onnx / "model.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=[CPU])
    if not hasattr(session, "get_provider_graph_assignment_info"):
        pytest.skip("this ONNX Runtime does not tell which provider runs a node")
    assert nodes_on_the_cpu(session) == "1 of 1 nodes (Conv 1)"
