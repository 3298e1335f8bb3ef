"""deploy/python/infer.py: equal to the trained model, light, and clear about what is wrong."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core import cpu as cpu_module
from ppdet_lite.core.errors import ConfigError, DataError, ImageError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.image_ops import decode_image
from ppdet_lite.engine.export_check import built_in_picture, compare_detections
from ppdet_lite.utils.result_files import write_picture


@pytest.fixture(scope="module")
def detector(deploy, exported):
    return deploy.detector.Detector(exported)


def assert_same(trained, detector, images):
    for image, found in zip(images, detector.predict(images)):
        expected = trained(image)
        result = compare_detections(expected, found, 0.01, 100)
        assert len(expected) > 10
        assert len(result.lost) == len(result.extra) == 0
        assert result.matched >= len(expected) - 2


# ------------------------------------------------------------------------------------- equality
def test_boxes_equal_the_trained_models(trained, detector):
    assert detector.engine.onednn
    image = built_in_picture()
    assert_same(trained, detector, [image, image[::-1].copy(), image[40:300, 100:300].copy()])


def test_boxes_equal_the_trained_models_on_photos(trained, detector, shared_dir):
    photos = sorted((shared_dir / "data" / "coco128" / "train2017").glob("*.jpg"))[8:14]
    assert_same(trained, detector, [decode_image(photo) for photo in photos])


def test_network_input_is_that_of_evaluation_to_the_bit(detector, small_config, tiny_coco):
    from ppdet_lite.core.workspace import create

    reader = create("EvalReader", load_config(small_config))
    batch = next(iter(reader))
    for index, path in enumerate(batch["im_file"]):
        sample = detector.preprocess(decode_image(path))
        assert (sample["image"] == batch["image"][index]).all()
        assert (sample["im_shape"] == batch["im_shape"][index]).all()
        assert (sample["scale_factor"] == batch["scale_factor"][index]).all()


def test_without_onednn(deploy, exported, trained):
    plain = deploy.detector.Detector(exported, enable_mkldnn=False)
    assert not plain.engine.onednn
    assert_same(trained, plain, [built_in_picture()])


def test_an_export_for_one_batch_size(deploy, broken, tmp_path, monkeypatch):
    path = broken / "infer_cfg.yml"
    settings = {**yaml.safe_load(path.read_text()), "batch_size": 3}
    path.write_text(yaml.safe_dump(settings))
    fixed = deploy.detector.Detector(broken)
    run, sizes = fixed.engine.run, []

    def watched(inputs):
        sizes.append(len(inputs["image"]))
        return run(inputs)

    monkeypatch.setattr(fixed.engine, "run", watched)
    picture = built_in_picture()
    one, two = fixed.predict([picture]), fixed.predict([picture, picture])
    assert sizes == [3, 3] and len(one) == 1 and len(two) == 2
    path = tmp_path / "a.png"
    write_picture(path, picture)
    text = deploy.stage_times.benchmark(fixed, path, 1)
    assert text.startswith(f"{path}: one picture in a batch of 3, 1 runs, CPU, ")
    np.testing.assert_allclose(one[0], two[1], atol=1e-3)
    with pytest.raises(UserError, match="4 pictures at once, but this model was exported with --b"):
        fixed.predict([picture] * 4)


def test_a_part_of_a_detector_is_refused(deploy, broken):
    path = broken / "infer_cfg.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "stage": "raw"}))
    with pytest.raises(ConfigError) as caught:
        deploy.detector.Detector(broken)
    assert str(caught.value) == (
        f"--model_dir {broken}: exported with --stage raw, so it gives no detections; export it "
        "with --stage nms"
    )


def test_nothing_found(detector, monkeypatch):
    empty = (np.zeros((0, 6), np.float32), np.zeros(2, np.int32))
    monkeypatch.setattr(detector.engine, "run", lambda inputs: empty)
    black = np.zeros((9, 9, 3), np.uint8)
    assert [len(rows) for rows in detector.predict([black, black])] == [0, 0]


# ------------------------------------------------------------------------------ the command line
def test_a_folder_from_another_working_folder(repo, exported, tiny_coco, tmp_path):
    pictures = tmp_path / "in"
    (pictures / "sub").mkdir(parents=True)
    shutil.copy(tiny_coco / "images" / "val_0.jpg", pictures / "a.jpg")
    shutil.copy(tiny_coco / "images" / "val_1.jpg", pictures / "sub" / "a.jpg")
    command = [sys.executable, str(repo / "deploy/python/infer.py"), "--model_dir", str(exported)]
    command += ["--image_dir", "in", "--output_dir", "out", "--threshold", "0.05"]
    command += ["--save_results", "--batch_size", "2", "--device", "CPU", "--cpu_threads", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    written = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert written == ["a.jpg", "a.json", "bbox.json", "sub/a.jpg", "sub/a.json"]
    content = json.loads((out / "a.json").read_text())
    assert len(content["detections"]) > 3
    assert {d["class_name"] for d in content["detections"]} <= {"square", "circle"}
    wrong = [*command[:2], "--model_dir", "gone", "--image_dir", "in"]
    done = subprocess.run(wrong, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr == "error: --model_dir gone: no such folder\n"


def test_no_training_code_is_loaded(repo, exported, tiny_coco, tmp_path):
    picture = tiny_coco / "images" / "val_0.jpg"
    code = f"""
import runpy, sys
sys.argv = ["infer.py", "--model_dir", {str(exported)!r}, "--image_file", {str(picture)!r},
            "--output_dir", {str(tmp_path)!r}]
runpy.run_path({str(repo / "deploy/python/infer.py")!r}, run_name="__main__")
rooms = {{name.split(".")[1] for name in sys.modules if name.startswith("ppdet_lite.")}}
print(sorted(rooms), "pycocotools" in sys.modules, "shapely" in sys.modules)
print(sorted(n for n in sys.modules if n.startswith("ppdet_lite.data.")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['core', 'data', 'utils'] False False",
        "['ppdet_lite.data.image_headers', 'ppdet_lite.data.image_ops']",
    ]


def test_threshold_comes_from_the_model_unless_given(deploy, exported, tiny_coco, tmp_path):
    picture = str(tiny_coco / "images" / "val_0.jpg")
    common = ["--model_dir", str(exported), "--image_file", picture, "--save_images", "False"]
    deploy.infer.main([*common, "--output_dir", str(tmp_path / "a")])
    deploy.infer.main([*common, "--output_dir", str(tmp_path / "b"), "--threshold", "0.02"])
    assert json.loads((tmp_path / "a" / "val_0.json").read_text())["threshold"] == 0.5
    assert json.loads((tmp_path / "b" / "val_0.json").read_text())["threshold"] == 0.02
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["val_0.json"]


def test_benchmark_prints_each_stage(deploy, exported, tiny_coco, tmp_path, capsys):
    picture = str(tiny_coco / "images" / "val_0.jpg")
    arguments = ["--model_dir", str(exported), "--image_file", picture, "--run_benchmark"]
    deploy.infer.main([*arguments, "--repeats", "3", "--output_dir", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    for stage in ("read and decode file", "preprocess", "network, decoding, NMS", "total"):
        assert f"\n{stage} " in printed
    assert "images/s" in printed and not (tmp_path / "out").exists()
    assert printed.startswith(f"{picture}: batch 1, 3 runs, CPU, oneDNN kernels\n")


def test_a_broken_picture_is_named_and_the_others_are_done(deploy, exported, tiny_coco, tmp_path):
    pictures = tmp_path / "in"
    pictures.mkdir()
    shutil.copy(tiny_coco / "images" / "val_0.jpg", pictures / "a.jpg")
    (pictures / "z.jpg").write_bytes(b"not a picture")
    arguments = ["--model_dir", str(exported), "--image_dir", str(pictures), "--batch_size", "4"]
    with pytest.raises(ImageError, match=r"in/z\.jpg: "):
        deploy.infer.main([*arguments, "--output_dir", str(tmp_path / "out")])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.jpg", "a.json"]


def test_missing_pictures_are_named(deploy, tmp_path):
    for path, reason in (
        (tmp_path / "gone.jpg", "no such picture"),
        (tmp_path, "is a folder: use --image_dir"),
    ):
        with pytest.raises(DataError) as caught:
            deploy.infer.main(["--model_dir", "x", "--image_file", str(path)])
        assert str(caught.value) == f"--image_file {path}: {reason}"


# ------------------------------------------------------------------------------ the model folder
def graph_of(deploy, folder):
    names = deploy.model_folder.GRAPH_FILES["paddle"]
    return next(path for path in folder.iterdir() if path.name in names)


def test_wrong_folders_and_missing_files(deploy, broken, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    cases = {
        "gone": "no such folder",
        "file": "is a file, not a folder",
        "other": "no model.json and no model.pdmodel in this folder; tools/export_model.py writes "
        "one",
    }
    for name, reason in cases.items():
        with pytest.raises(DataError) as caught:
            deploy.detector.Detector(tmp_path / name)
        assert str(caught.value) == f"--model_dir {tmp_path / name}: {reason}"
    (broken / "model.pdiparams").unlink()
    with pytest.raises(DataError) as caught:
        deploy.detector.Detector(broken)
    graph = next(
        p.name for p in broken.iterdir() if p.name in deploy.model_folder.GRAPH_FILES["paddle"]
    )
    assert str(caught.value) == (
        f"{broken / 'model.pdiparams'}: missing beside {graph}; export the model again"
    )


def test_unusable_infer_cfg(deploy, broken):
    path = broken / "infer_cfg.yml"
    settings = yaml.safe_load(path.read_text())
    cases = [
        ("a: [", "not a YAML file ("),
        ("just text", "the list 'Preprocess' is missing; export the model again"),
        (
            yaml.safe_dump({**settings, "label_list": None}),
            "the list 'label_list' is missing; export the model again",
        ),
        (
            yaml.safe_dump({**settings, "format_version": 2}),
            "format_version 2, but this script knows up to 1; use the deploy/python/infer.py of "
            "the ppdet_lite that exported it",
        ),
        (
            yaml.safe_dump({**settings, "format_version": "new"}),
            "format_version: found 'new', allowed: a number",
        ),
        (
            yaml.safe_dump({**settings, "draw_threshold": "high"}),
            "draw_threshold: found 'high', allowed: a number",
        ),
        (
            yaml.safe_dump({**settings, "draw_threshold": 7}),
            "draw_threshold: found 7, allowed: 0 to 1",
        ),
        (
            yaml.safe_dump({**settings, "Preprocess": [{"type": "Fancy"}]}),
            "Preprocess.0.type: found 'Fancy'; this project knows ",
        ),
        (
            yaml.safe_dump({**settings, "Preprocess": [{"type": "Resize"}]}),
            "the list 'Preprocess' cannot be used (KeyError: 'target_size'); export the model",
        ),
        (
            yaml.safe_dump({**settings, "Preprocess": ["Resize"]}),
            "the list 'Preprocess' cannot be used (AttributeError: ",
        ),
        (
            yaml.safe_dump({**settings, "image_shape": [3, 64, 64]}),
            "target_size: found [96, 128], allowed: [64, 64], the size of the graph's input",
        ),
    ]
    for text, reason in cases:
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            deploy.detector.Detector(broken)
        assert str(caught.value).startswith(f"{path}: {reason}")


@pytest.mark.parametrize("kind", ["parameters", "graph"])
def test_a_cut_file_or_a_mismatch_is_said(deploy, broken, kind, capsys):
    graph = graph_of(deploy, broken)
    path = graph if kind == "graph" else broken / "model.pdiparams"
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(UserError) as caught:
        deploy.detector.Detector(broken)
    assert str(caught.value).startswith(
        f"{broken}: Paddle cannot run this model. Either {graph.name} and model.pdiparams do not "
        "belong together, or another version of Paddle wrote them: "
    )
    assert "oneDNN is off" not in capsys.readouterr().err


def test_a_graph_of_paddle_3_under_paddle_2(deploy, monkeypatch, tmp_path):
    monkeypatch.setattr(paddle, "__version__", "2.6.2")
    deploy.engine_paddle.check_graph(tmp_path / "model.pdmodel")
    with pytest.raises(UserError) as caught:
        deploy.engine_paddle.check_graph(tmp_path / "model.json")
    assert str(caught.value) == (
        f"{tmp_path / 'model.json'}: written by Paddle 3, but this is Paddle 2.6.2; install "
        "paddlepaddle>=3, or export the model with the Paddle of this machine"
    )
    monkeypatch.setattr(paddle, "__version__", "3.3.1")
    deploy.engine_paddle.check_graph(tmp_path / "model.json")


# ----------------------------------------------------------------------------- devices and modes
def test_onednn_that_fails_is_replaced_with_one_line(
    deploy, exported, trained, capsys, monkeypatch
):
    paddle_engine = deploy.engine_paddle.PaddleEngine
    execute = paddle_engine.execute

    def fragile(self):
        if self.onednn:
            raise RuntimeError("(Unimplemented)\nno such kernel")
        execute(self)

    monkeypatch.setattr(paddle_engine, "execute", fragile)
    detector = deploy.detector.Detector(exported)
    assert_same(trained, detector, [built_in_picture()])
    printed = capsys.readouterr().err
    assert printed == (
        "oneDNN is off, it cannot run this model here: (Unimplemented) no such kernel\n"
    )
    assert not detector.engine.onednn
    assert detector.engine.kernels == "paddle"


def test_an_error_that_is_not_onednns_leaves_it_on(deploy, exported, trained, capsys):
    detector = deploy.detector.Detector(exported)
    wrong = {
        "image": np.zeros((1, 3, 10, 10), np.float32),
        "im_shape": np.ones((1, 2), np.float32),
        "scale_factor": np.ones((1, 2), np.float32),
    }
    with pytest.raises(UserError, match=f"{exported}: Paddle cannot run this model"):
        detector.engine.run(wrong)
    assert detector.engine.kernels == "oneDNN" and capsys.readouterr().err == ""
    assert_same(trained, detector, [built_in_picture()])


def test_ctrl_c_while_paddle_is_imported(deploy, monkeypatch):
    """Its libraries turn a KeyboardInterrupt into an ImportError."""

    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            if name == "paddle":
                raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.delitem(sys.modules, "paddle")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(KeyboardInterrupt):
        deploy.engine_paddle.check_runtime("CPU", "paddle")


def test_bfloat16_only_where_the_cpu_has_it(deploy, exported, trained, capsys, monkeypatch):
    cpu = "flags : avx2\n"
    monkeypatch.setattr(cpu_module, "cpu_info", lambda: cpu)
    detector = deploy.detector.Detector(exported, enable_mkldnn_bfloat16=True)
    assert detector.engine.kernels == "oneDNN"
    assert capsys.readouterr().err == (
        "bfloat16 is off: this CPU has no instructions for it (avx512_bf16, amx_bf16)\n"
    )
    monkeypatch.setattr(cpu_module, "cpu_info", lambda: "flags : avx2 avx512_bf16\n")
    calls = []
    config = FakeConfig(calls)
    engine = detector.engine
    engine.bfloat16 = deploy.engine_paddle._has_bfloat16()
    engine._choose_cpu_kernels(config)
    assert calls == ["enable_mkldnn", "enable_mkldnn_bfloat16"]
    assert engine.kernels == "oneDNN bfloat16"


class FakeConfig:
    """Notes the names of what is called."""

    def __init__(self, calls):
        self._calls = calls

    def __getattr__(self, name):
        return lambda *args: self._calls.append(name)


@pytest.mark.parametrize("mode", ["trt_fp32", "trt_fp16", "trt_int8"])
def test_tensorrt_needs_a_gpu(deploy, exported, mode):
    with pytest.raises(UserError) as caught:
        deploy.detector.Detector(exported, run_mode=mode)
    assert str(caught.value) == (f"--run_mode {mode} needs --device GPU; without one use paddle")


def test_paddle_without_cuda_or_tensorrt(deploy, monkeypatch):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: False)
    with pytest.raises(UserError) as caught:
        deploy.engine_paddle.check_runtime("GPU", "paddle")
    assert str(caught.value) == (
        "--device GPU: this Paddle was built without CUDA; install paddlepaddle-gpu "
        "(README.md says from where), or use --device CPU"
    )
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="--device GPU: no GPU is visible; use --device CPU"):
        deploy.engine_paddle.check_runtime("GPU", "paddle")
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    import paddle.inference as inference

    monkeypatch.setattr(inference, "get_trt_compile_version", lambda: (0, 0, 0))
    with pytest.raises(UserError) as caught:
        deploy.engine_paddle.check_runtime("GPU", "trt_fp16")
    assert str(caught.value) == (
        "--run_mode trt_fp16: this Paddle was built without TensorRT; install a paddlepaddle-gpu "
        "with TensorRT (deploy/README.md says which), or use --run_mode paddle"
    )
    monkeypatch.setattr(inference, "get_trt_compile_version", lambda: (8, 6, 1))
    monkeypatch.setattr(inference, "get_trt_runtime_version", lambda: (0, 0, 0))
    with pytest.raises(UserError) as caught:
        deploy.engine_paddle.check_runtime("GPU", "trt_fp16")
    assert str(caught.value) == (
        "--run_mode trt_fp16: the library libnvinfer of TensorRT is not found; install TensorRT "
        "8.6.1 and name its folder in LD_LIBRARY_PATH, or use --run_mode paddle"
    )
    monkeypatch.setattr(inference, "get_trt_runtime_version", lambda: (8, 6, 1))
    deploy.engine_paddle.check_runtime("GPU", "trt_fp16")
    deploy.engine_paddle.check_runtime("GPU", "paddle")


def test_unknown_devices_and_modes(deploy):
    with pytest.raises(UserError, match="--device: found TPU, allowed: CPU, GPU, XPU"):
        deploy.engine_paddle.check_runtime("TPU", "paddle")
    with pytest.raises(UserError, match="--run_mode: found fast, allowed: paddle, trt_fp32, trt_"):
        deploy.engine_paddle.check_runtime("CPU", "fast")
    with pytest.raises(UserError, match="--device XPU: this Paddle was built without Kunlun supp"):
        deploy.engine_paddle.check_runtime("XPU", "paddle")


def test_options_that_are_no_numbers_or_switches(deploy, capsys):
    cases = {
        ("--batch_size", "0"): "found 0, allowed: whole numbers from 1",
        ("--cpu_threads", "two"): "found two, allowed: whole numbers from 1",
        ("--camera_id", "-1"): "found -1, allowed: whole numbers from 0",
        ("--save_images", "maybe"): "found maybe, allowed: true, false",
    }
    for option, message in cases.items():
        with pytest.raises(SystemExit) as caught:
            deploy.infer.main(["--model_dir", "x", "--image_file", "a.jpg", *option])
        assert caught.value.code == 2
        assert capsys.readouterr().err.endswith(f"error: argument {option[0]}: {message}\n")


def test_help_is_quick(repo):
    command = [sys.executable, str(repo / "deploy/python/infer.py"), "--help"]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
    code = (
        "import runpy, sys\n"
        "sys.argv = ['deploy/python/infer.py', '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'paddle', 'cv2', 'numpy', 'yaml', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
