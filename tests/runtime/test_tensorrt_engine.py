"""The engines of TensorRT's own package, with a driver and a TensorRT that stand for them."""

import json
import sys
import threading

import numpy as np
import pytest
import yaml

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines import tensorrt_engine
from ppdet_lite.runtime.engines.cuda_driver import CudaDevice, CudaError, DeviceArray
from ppdet_lite.runtime.engines.engine import EngineError
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.engines.tf32 import OVERRIDE
from ppdet_lite.runtime.options import EngineOptions, TensorRTOptions
from tests.runtime.gpu_fakes import STREAM, FakeDriver, fake_tensorrt

CONTENT = {
    "inputs": {"image": [1, 3, 96, 128], "scale_factor": [1, 2]},
    "outputs": {"bbox": [1, 5, 6], "bbox_num": [1]},
}


@pytest.fixture
def driver():
    return FakeDriver()


@pytest.fixture
def tensorrt(driver, monkeypatch):
    module = fake_tensorrt(driver)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(tensorrt_engine, "CudaDevice", lambda: CudaDevice(driver))
    monkeypatch.delenv(OVERRIDE, raising=False)
    return module


@pytest.fixture
def folder(broken):
    (broken / "model.onnx").write_text(json.dumps(CONTENT))
    return broken


def open_it(folder, trt_options=None, **options):
    trt_options = trt_options or TensorRTOptions()
    options = EngineOptions("tensorrt", "GPU", tensorrt=trt_options, **options)
    return open_engine(ModelFolder(folder, "tensorrt", precision=options.precision), options)


def inputs(value=0.0, batch=1, size=(96, 128)):
    return {
        "image": np.full((batch, 3, *size), value, np.float32),
        "im_shape": np.ones((batch, 2), np.float32),
        "scale_factor": np.ones((batch, 2), np.float32),
    }


def total(value, batch=1, size=(96, 128)):
    return 3 * batch * size[0] * size[1] * value + 2 * batch


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_arrays_go_to_the_gpu_and_come_back_in_the_files_order(
    folder, tensorrt, driver, cuda_graph
):
    engine = open_it(folder, cuda_graph=cuda_graph)
    assert engine.input_names == ["image", "scale_factor"] and engine.fixed_batch == 1
    for value in (1.0, 0.5, 2.0):  # from the second run on by the graph
        bbox, count = engine.run(inputs(value))
        assert bbox.shape == (1, 5, 6) and count.shape == (1,)
        assert (bbox == total(value)).all() and (count == total(value) + 1).all()
    assert driver.calls.count("cuGraphLaunch") == (2 if cuda_graph else 0)
    assert driver.depth == 0 and driver.allocated == 8
    engine.close()
    assert driver.allocated == 0 and driver.graphs == {}
    assert driver.calls[-1] == "cuDevicePrimaryCtxRelease_v2"


def test_what_runs_is_said(folder, tensorrt):
    engine = open_it(folder)
    assert engine.runs_on == "TensorRT 10.9.0 on NVIDIA Test GPU, TF32 off"
    engine = open_it(folder, tf32=True, cuda_graph=True)
    assert engine.runs_on.endswith("TF32 on, CUDA graph") and engine.kernels == "TensorRT"


def test_networks_are_strongly_typed_and_tf32_is_asked_for(folder, tensorrt):
    open_it(folder)
    open_it(folder, tf32=True)
    assert [entry.network.flags for entry in tensorrt.made] == [2, 2]
    assert [entry.config.flags for entry in tensorrt.made] == [set(), {"TF32"}]


def test_tf32_that_the_environment_turns_off(folder, tensorrt, monkeypatch):
    monkeypatch.setenv(OVERRIDE, "0")
    open_it(folder)
    with pytest.raises(UserError, match=f"^`tf32`: {OVERRIDE} is 0"):
        open_it(folder, tf32=True)


def test_an_engine_is_built_once_for_all_that_it_depends_on(folder, tensorrt, capsys, driver):
    open_it(folder)
    assert "building the engine in " in capsys.readouterr().out
    open_it(folder)
    open_it(folder, cuda_graph=True)
    assert capsys.readouterr().out == "" and len(tensorrt.made) == 1
    tensorrt.__version__ = "10.10.0"
    open_it(folder)
    open_it(folder, TensorRTOptions(cache_dir=folder / "other"))
    driver.do_cuDriverGetVersion = lambda out: setattr(out._obj, "value", 13010)
    open_it(folder)
    (folder / "model.onnx").write_text(json.dumps(CONTENT, indent=1))
    open_it(folder)
    assert len(tensorrt.made) == 5
    names = sorted(path.name for path in (folder / "trt_cache").iterdir())
    assert len(names) == 4 and all(name.startswith("tensorrt-") for name in names)
    about = json.loads((folder / "trt_cache" / names[0] / "about.json").read_text())
    assert about["gpu"] == ["NVIDIA Test GPU", "9.0"] and about["tf32"] is False


def test_engines_of_every_precision_lie_apart(folder, tensorrt, capsys):
    names = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "int8": "model_tensorrt_int8.onnx"}
    for indent, (precision, name) in enumerate(names.items()):
        (folder / name).write_text(json.dumps(CONTENT, indent=indent))
        for _ in range(2):
            assert open_it(folder, precision=precision).graph.name == name
    assert len(tensorrt.made) == len(list((folder / "trt_cache").iterdir())) == 3


def test_a_build_that_fails_leaves_no_engine(folder, tensorrt):
    tensorrt.broken = "Conv"
    with pytest.raises(EngineError, match="tensorrt cannot build this model: no kernel for Conv$"):
        open_it(folder)
    tensorrt.broken = ""
    open_it(folder)
    assert len(tensorrt.made) == 2


def test_operators_that_the_parser_cannot_take_are_named(folder, tensorrt):
    tensorrt.refused = [
        ("DeformConv", "DeformConv.0", "Plugin not\nfound"),
        ("DeformConv", "DeformConv.1", "Plugin not found"),
        ("NonZero", "", "no"),
    ]
    named = r"operator DeformConv \(node DeformConv.0\), operator NonZero \(node 7\): Plugin not"
    with pytest.raises(EngineError, match=f"model.onnx: tensorrt cannot read .*: {named} found$"):
        open_it(folder)
    tensorrt.refused = [("", "", "no graph")]
    with pytest.raises(EngineError, match="cannot read this model: no graph$"):
        open_it(folder)


def test_sizes_that_are_open_have_a_profile(folder, tensorrt, driver):
    path = folder / "infer_cfg.yml"
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**settings, "image_shape": [3, -1, -1]}))
    content = {
        "inputs": {"image": [-1, 3, -1, -1], "scale_factor": [-1, 2]},
        "outputs": {"bbox": ["N", 5, 6], "bbox_num": ["N"]},
    }
    (folder / "model.onnx").write_text(json.dumps(content))
    sides = {"min_side": 32, "opt_side": 64, "max_side": 128}
    engine = open_it(folder, TensorRTOptions(batch_size=2, **sides), cuda_graph=True)
    (profile,) = tensorrt.made[0].config.profiles
    assert profile["image"] == ((1, 3, 32, 32), (2, 3, 64, 64), (2, 3, 128, 128))
    assert profile["scale_factor"] == ((1, 2), (2, 2), (2, 2))
    assert engine.fixed_batch is None
    for batch, size in ((1, (32, 64)), (2, (64, 64)), (2, (64, 64)), (1, (32, 64))):
        bbox, count = engine.run(inputs(1.0, batch, size))
        assert bbox.shape == (batch, 5, 6) and (count == total(1.0, batch, size) + 1).all()
    assert driver.allocated == 8 and driver.calls.count("cuGraphLaunch") == 1


def test_outputs_of_any_number_of_rows_are_refused(folder, tensorrt):
    content = {**CONTENT, "outputs": {"bbox": [-1, 6]}}
    (folder / "model.onnx").write_text(json.dumps(content))
    with pytest.raises(EngineError, match="output bbox has as many rows .* NMS of a fixed size$"):
        open_it(folder).run(inputs())


def test_a_run_that_fails_is_said(folder, tensorrt):
    engine = open_it(folder)
    tensorrt.runs = False
    with pytest.raises(EngineError, match="TensorRT cannot run this model"):
        engine.run(inputs())


def test_memory_that_is_used_up(folder, tensorrt, driver):
    engine = open_it(folder)
    driver.failing = "cuMemHostAlloc"
    with pytest.raises(EngineError, match="cuMemHostAlloc: out of memory"):
        engine.run(inputs())
    assert driver.allocated == 0 and driver.depth == 0
    driver.failing = ""
    assert (engine.run(inputs(1.0))[0] == total(1.0)).all()


def test_threads_take_turns(folder, tensorrt):
    engine, wrong = open_it(folder), []

    def work(value):
        for _ in range(20):
            wrong.extend(engine.run(inputs(value))[0][0] != total(value))

    threads = [threading.Thread(target=work, args=(value,)) for value in (1.0, 2.0, 3.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not np.any(wrong)


def test_old_releases_and_missing_packages(folder, tensorrt, monkeypatch):
    tensorrt.__version__ = "8.6.1"
    with pytest.raises(UserError, match="^`engine` tensorrt: found tensorrt 8.6.1, allowed: 10 "):
        open_it(folder)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(UserError, match="^`engine` tensorrt_rtx needs .*pip install tensorrt_rtx"):
        open_engine(
            ModelFolder(folder, "tensorrt_rtx"), EngineOptions("tensorrt_rtx", device="GPU")
        )


def test_kernels_of_tensorrt_for_rtx_are_kept(folder, tensorrt, driver, monkeypatch):
    package = fake_tensorrt(driver, "tensorrt_rtx", "1.7.1")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", package)
    files = ModelFolder(folder, "tensorrt_rtx")
    for cuda_graph in (False, True):
        options = EngineOptions("tensorrt_rtx", "GPU", cuda_graph=cuda_graph)
        engine = open_engine(files, options)
        for _ in range(2):
            assert (engine.run(inputs(1.0))[0] == total(1.0)).all()
        assert engine.runs_on.startswith("TensorRT for RTX 1.7.1 on NVIDIA Test GPU, TF32 off")
    first, second = package.contexts
    assert (first.loaded, second.loaded) == ([], [b"kernels"]) and len(package.made) == 1
    strategy = "dynamic_shapes_kernel_specialization_strategy"
    assert not hasattr(first, strategy) and getattr(second, strategy) == "eager"


# -------------------------------------------------------------------------------------- the driver
def test_a_machine_without_a_driver_or_a_gpu(driver):
    driver.failing = "cuInit"
    with pytest.raises(UserError, match=r"^`device` GPU: no GPU is visible \(cuInit: out of mem"):
        CudaDevice(driver)
    try:
        device = CudaDevice()
    except UserError as error:
        assert "driver" in str(error) or "no GPU is visible" in str(error)
    else:
        assert device.name
        device.close()


def test_a_device_by_the_driver(driver):
    device = CudaDevice(driver)
    facts = (device.name, device.capability, device.driver_version, device.stream)
    assert facts == ("NVIDIA Test GPU", "9.0", 13000, STREAM)
    array = DeviceArray(device, (2, 3), np.dtype(np.float16))
    array.host[:] = 7
    array.send()
    array.host[:] = 0
    array.fetch()
    assert (array.host == 7).all() and array.host.shape == (2, 3)
    array.close()
    driver.failing = "cuMemAlloc_v2"
    with pytest.raises(CudaError, match=r"^cuMemAlloc_v2: out of memory \(2\)$"):
        DeviceArray(device, (2, 3), np.dtype(np.float16))
    assert driver.depth == 0


def test_a_capture_that_fails_is_ended(driver):
    device = CudaDevice(driver)

    def fail():
        raise RuntimeError("cannot")

    with pytest.raises(RuntimeError, match="cannot"):
        device.capture(fail)
    assert driver.recording is None and driver.depth == 0
