"""What is asked of Paddle for TensorRT, noted by a Config that only remembers; no GPU is needed."""

import json
from pathlib import Path

import numpy as np
import paddle
import paddle.inference as inference
import pytest
import yaml

from ppdet_lite.cli.deploy import build_parser, open_detector
from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.engines import tensorrt as setup
from ppdet_lite.runtime.engines.tensorrt import ops_outside_tensorrt
from ppdet_lite.runtime.options import TensorRTOptions

GPU = "NVIDIA Test GPU"
NMS = ["multiclass_nms", "multiclass_nms3", "top_k_v2", "topk"]
KEPT_OUT = ["yolo_box", "clip", "log", "pow", "elementwise_pow", "reciprocal", "elementwise_div"]


@pytest.fixture
def program(broken):
    """An export with the files of Paddle 2; nothing reads them here."""
    for graph in broken.glob("model.*"):
        if graph.suffix in (".json", ".pdmodel"):
            graph.rename(broken / "model.pdmodel")
    return broken


def open_input(folder):
    path = folder / "infer_cfg.yml"
    settings = yaml.safe_load(path.read_text())
    settings["image_shape"] = [3, -1, -1]
    path.write_text(yaml.safe_dump(settings))


@pytest.mark.parametrize(
    ("mode", "precision"), [("trt_fp32", "Float32"), ("trt_fp16", "Half"), ("trt_int8", "Int8")]
)
def test_settings_for_a_fixed_input_size(program, gpu, tiny_coco, mode, precision):
    options = TensorRTOptions(batch_size=2, calib_dir=tiny_coco / "images")
    detector = Detector(program, "GPU", mode, tensorrt=options)
    assert gpu.call("files") == (("model.pdmodel", "model.pdiparams"), {})
    assert gpu.call("enable_use_gpu") == ((200, 0), {})
    assert gpu.call("enable_tensorrt_engine") == (
        (),
        {
            "workspace_size": 1 << 30,
            "max_batch_size": 2,
            "min_subgraph_size": 3,
            "precision_mode": getattr(inference.PrecisionType, precision),
            "use_static": True,
            "use_calib_mode": mode == "trt_int8",
        },
    )
    folder = detector.engine.tensorrt.folder
    assert gpu.call("set_optim_cache_dir") == ((str(folder),), {})
    assert folder.parent == program / "trt_cache" and folder.is_dir()
    assert gpu.call("enable_tuned_tensorrt_dynamic_shape") is None
    kept_out = NMS if mode == "trt_fp32" else [*NMS, *KEPT_OUT]
    assert gpu.call("exp_disable_tensorrt_ops") == ((kept_out,), {})
    assert detector.engine.kernels == f"TensorRT {mode[4:].upper()}"


def test_deformable_convolution_stays_in_float32():
    kept_out = ops_outside_tensorrt
    assert kept_out("fp16", "2.5.2") == [*NMS, "deformable_conv", *KEPT_OUT]
    for version in ("2.6.0", "2.6.2", "3.0.0", "3.3.1", "0.0.0"):
        assert kept_out("fp16", version) == kept_out("int8", version) == [*NMS, *KEPT_OUT]
    assert kept_out("fp32", "2.5.2") == NMS


def test_shapes_of_an_open_input_are_collected_once(program, gpu, capsys):
    open_input(program)
    options = TensorRTOptions(batch_size=4, min_side=96, opt_side=128, max_side=192)
    detector = Detector(program, "GPU", "trt_fp16", tensorrt=options)
    shapes = str(detector.engine.tensorrt.folder / "shapes.pbtxt")
    assert gpu.call("collect_shape_range_info", 0) == ((shapes + ".part",), {})
    assert Path(shapes).is_file() and not Path(shapes + ".part").exists()
    assert gpu.call("enable_tensorrt_engine", 0) is None
    usual = (4, 3, 128, 128)  # Paddle tunes for the sides that it sees most often
    assert gpu.runs[0] == [(1, 3, 96, 96), usual, usual, (4, 3, 192, 192)]
    assert gpu.call("enable_tuned_tensorrt_dynamic_shape") == ((shapes, True), {})
    assert f"collecting shapes into {shapes}, once" in capsys.readouterr().out
    assert detector.engine.fixed_batch is None
    Detector(program, "GPU", "trt_fp16", tensorrt=options)
    assert len(gpu.calls) == 3 and gpu.call("collect_shape_range_info") is None


def out_of_memory_at(monkeypatch, gpu, number):
    """Lets run `number` of every predictor fail."""
    predictor = gpu.predictor

    def fragile(config):
        made, runs = predictor(config), []

        def run(self):
            runs.append(number)
            if len(runs) == number:
                raise RuntimeError("(ResourceExhausted) Out of memory error on GPU 0.")

        monkeypatch.setattr(type(made), "run", run)
        return made

    monkeypatch.setattr(inference, "create_predictor", fragile)


def files_of_the_cache(program):
    """Names of the files and folders in the only folder of the cache."""
    (folder,) = (program / "trt_cache").iterdir()
    return sorted(path.name for path in folder.iterdir())


def test_half_collected_shapes_are_not_kept(program, gpu, monkeypatch):
    """Paddle writes what it noted also after an error, as soon as the predictor goes."""
    open_input(program)
    with monkeypatch.context() as patch:
        out_of_memory_at(patch, gpu, 4)
        with pytest.raises(UserError, match="Out of memory") as caught:
            Detector(program, "GPU", "trt_fp16")
        assert len(gpu.runs[0]) == 4 and files_of_the_cache(program) == ["about.json", "lock"]
        del caught
    assert files_of_the_cache(program) == ["about.json", "lock"]
    Detector(program, "GPU", "trt_fp16")
    assert gpu.call("collect_shape_range_info", 1) is not None and len(gpu.runs[1]) == 4
    assert files_of_the_cache(program) == ["about.json", "lock", "shapes.pbtxt"]


def test_half_a_calibration_is_not_kept(program, gpu, tiny_coco, monkeypatch):
    options = TensorRTOptions(batch_size=5, calib_dir=tiny_coco / "images")
    with monkeypatch.context() as patch:
        out_of_memory_at(patch, gpu, 2)
        with pytest.raises(UserError, match="Out of memory"):
            Detector(program, "GPU", "trt_int8", tensorrt=options)
    assert files_of_the_cache(program) == ["about.json", "lock"]
    killed = next((program / "trt_cache").iterdir()) / "calibration" / "_opt_cache"
    killed.mkdir(parents=True)
    (killed / "trt_calib_7").write_text("ranges of a few images")
    Detector(program, "GPU", "trt_int8", tensorrt=options)
    assert files_of_the_cache(program) == ["about.json", "lock", "trt_calib_1", "trt_calib_2"]


def test_sides_of_an_open_input_are_checked(program, gpu):
    open_input(program)
    for sides in ((320, 300, 640), (100, 320, 640)):
        options = TensorRTOptions(min_side=sides[0], opt_side=sides[1], max_side=sides[2])
        with pytest.raises(UserError, match="`opt_side`, .*allowed: multiples of 32 in rising"):
            Detector(program, "GPU", "trt_fp16", tensorrt=options)


def test_tensorrt_10_is_told_fixed_shapes_as_well(program, gpu, monkeypatch):
    monkeypatch.setattr(inference, "get_trt_compile_version", lambda: (10, 3, 0))
    Detector(program, "GPU", "trt_fp32")
    assert gpu.runs[0] == [(1, 3, 96, 128)] * 4
    assert gpu.call("enable_tuned_tensorrt_dynamic_shape") is not None


def test_int8_calibrates_once(program, gpu, tiny_coco, capsys):
    with pytest.raises(UserError, match="^`run_mode` trt_int8 needs `calib_dir`"):
        Detector(program, "GPU", "trt_int8")
    options = TensorRTOptions(batch_size=5, calib_dir=tiny_coco / "images")
    detector = Detector(program, "GPU", "trt_int8", tensorrt=options)
    assert gpu.runs == [[(5, 3, 96, 128)] * 2, []]  # 12 images, whole batches only
    written = [path.name for path in detector.engine.tensorrt.folder.iterdir()]
    assert sorted(written) == ["about.json", "lock", "trt_calib_1", "trt_calib_2"]
    assert not (program / "_opt_cache").exists()
    assert gpu.call("enable_tensorrt_engine", 0)[1]["use_static"] is False
    assert gpu.call("enable_tensorrt_engine", 1)[1]["use_static"] is True
    assert "calibrating on 12 images, once" in capsys.readouterr().out
    again = TensorRTOptions(batch_size=5)  # the table is there: no images needed
    Detector(program, "GPU", "trt_int8", tensorrt=again)
    assert len(gpu.calls) == 3


def test_calibration_images_that_are_missing_or_too_few(program, gpu, tiny_coco):
    gone = TensorRTOptions(calib_dir=tiny_coco / "gone")
    with pytest.raises(DataError, match="gone: no such folder"):
        Detector(program, "GPU", "trt_int8", tensorrt=gone)
    few = TensorRTOptions(calib_dir=tiny_coco / "images", batch_size=20)
    with pytest.raises(DataError, match="12 images are fewer than `batch_size` 20"):
        Detector(program, "GPU", "trt_int8", tensorrt=few)


# --------------------------------------------------------------------------------------- the cache
def test_the_cache_is_keyed_by_all_that_an_engine_depends_on(program, gpu, monkeypatch):
    def folder(mode="trt_fp16", **options):
        detector = Detector(program, "GPU", mode, tensorrt=TensorRTOptions(**options))
        return detector.engine.tensorrt.folder.name

    first = folder()
    assert first.startswith("fp16-") and folder() == first
    others = [folder("trt_fp32"), folder(batch_size=2)]
    with monkeypatch.context() as patch:
        patch.setattr(paddle.device.cuda, "get_device_name", lambda number: "another GPU")
        others.append(folder())
    with monkeypatch.context() as patch:
        patch.setattr(inference, "get_trt_compile_version", lambda: (8, 5, 3))
        others.append(folder())
    with monkeypatch.context() as patch:
        patch.setattr(inference, "get_trt_runtime_version", lambda: (8, 6, 2))
        others.append(folder())
    with monkeypatch.context() as patch:
        patch.setattr(paddle, "__version__", "3.9.9")
        others.append(folder())
    params = program / "model.pdiparams"
    params.write_bytes(params.read_bytes()[:-1] + b"x")
    others.append(folder())
    path = program / "infer_cfg.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "min_subgraph_size": 8}))
    others.append(folder())
    monkeypatch.setattr(setup, "WORKSPACE_BYTES", 1 << 31)
    others.append(folder())
    kept_out = ops_outside_tensorrt
    monkeypatch.setattr(setup, "ops_outside_tensorrt", lambda *args: [*kept_out(*args), "relu"])
    others.append(folder())
    assert gpu.call("exp_disable_tensorrt_ops") == (([*NMS, *KEPT_OUT, "relu"],), {})
    assert len({first, *others}) == 11
    about = json.loads((program / "trt_cache" / first / "about.json").read_text())
    assert about["gpu"] == GPU and about["tensorrt"] == [[8, 6, 1]] * 2
    assert about["shapes"]["image"] == [[1, 3, 96, 128]] * 3
    assert about["outside_tensorrt"] == [*NMS, *KEPT_OUT]


def test_one_run_at_a_time_builds_in_a_folder(program, gpu, monkeypatch, capsys):
    fcntl = pytest.importorskip("fcntl", reason="no file locks on this system")
    lock, create, states = fcntl.flock, inference.create_predictor, []
    folder = Detector(program, "GPU", "trt_fp16").engine.tensorrt.folder
    other_run = open(folder / "lock", "a")  # noqa: SIM115, closed below

    def is_locked():
        with open(folder / "lock", "a") as another:
            try:
                lock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def create_predictor(config):
        states.append(is_locked())
        return create(config)

    def flock(file, how):
        if how == fcntl.LOCK_EX:  # it waits for the other run, which ends now
            assert capsys.readouterr().out == (
                f"TensorRT: waiting for another run that is building engines in {folder}\n"
            )
            other_run.close()
        return lock(file, how)

    monkeypatch.setattr(inference, "create_predictor", create_predictor)
    monkeypatch.setattr(fcntl, "flock", flock)
    lock(other_run, fcntl.LOCK_EX)
    Detector(program, "GPU", "trt_fp16")
    assert other_run.closed and states == [True] and not is_locked()


def test_cache_folder_of_choice_and_one_that_cannot_be_written(program, gpu, tmp_path):
    (tmp_path / "file").write_text("")
    options = TensorRTOptions(cache_dir=tmp_path / "engines")
    Detector(program, "GPU", "trt_fp16", tensorrt=options)
    assert len(list((tmp_path / "engines").iterdir())) == 1
    options = TensorRTOptions(cache_dir=tmp_path / "file")
    with pytest.raises(UserError, match=f"`cache_dir` {tmp_path / 'file'}: cannot be written"):
        Detector(program, "GPU", "trt_fp16", tensorrt=options)


def test_options_of_the_command_line_arrive(program, gpu, tiny_coco, tmp_path):
    arguments = ["--model_dir", str(program), "--image_file", "a.jpg", "--device", "gpu"]
    arguments += ["--run_mode", "trt_int8", "--trt_cache_dir", str(tmp_path / "cache")]
    arguments += ["--calib_dir", str(tiny_coco / "images"), "--batch_size", "3"]
    arguments += ["--trt_min_shape", "64", "--trt_opt_shape", "96", "--trt_max_shape", "128"]
    detector = open_detector(build_parser().parse_args(arguments))
    assert detector.engine.tensorrt.options == TensorRTOptions(
        cache_dir=tmp_path / "cache",
        calib_dir=tiny_coco / "images",
        batch_size=3,
        min_side=64,
        opt_side=96,
        max_side=128,
    )


def test_a_missing_image_fills_an_engine_of_fixed_batch(program, gpu, monkeypatch):
    options = TensorRTOptions(batch_size=3)
    detector = Detector(program, "GPU", "trt_fp16", tensorrt=options)

    def run(inputs):
        assert inputs["image"].shape == (3, 3, 96, 128)
        return [np.arange(30, dtype=np.float32).reshape(5, 6), np.array([2, 2, 1], np.int32)]

    monkeypatch.setattr(detector.engine, "run", run)
    black = np.zeros((9, 9, 3), np.uint8)
    assert [len(rows) for rows in detector.predict([black, black])] == [2, 2]
    with pytest.raises(UserError, match="4 images at once, .* has a TensorRT engine for 3"):
        detector.predict([black] * 4)


def test_the_engine_is_built_for_the_batch_of_the_detector(program, gpu):
    detector = Detector(program, "GPU", "trt_fp16", batch_size=8)
    assert detector.fixed_batch == 8
    assert gpu.call("enable_tensorrt_engine")[1]["max_batch_size"] == 8
    options = TensorRTOptions(batch_size=2)
    detector = Detector(program, "GPU", "trt_fp16", tensorrt=options, batch_size=8)
    assert detector.fixed_batch == 2


def test_sides_of_the_command_line_are_those_of_the_options():
    arguments = ["--model_dir", "x", "--image_file", "a.jpg"]
    args = build_parser().parse_args(arguments)
    options = TensorRTOptions()
    sides = (options.min_side, options.opt_side, options.max_side)
    assert (args.min_side, args.opt_side, args.max_side) == sides == (320, 640, 1280)
