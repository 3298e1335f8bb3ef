"""deploy/python/infer.py on images: equal to the trained model, light, clear options."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from ppdet_lite.cli.deploy import main
from ppdet_lite.core.errors import ConfigError, DataError, ImageError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.evaluate.predictor import run_inference
from ppdet_lite.evaluate.run import run_evaluation
from ppdet_lite.export.check import built_in_image
from ppdet_lite.runtime import detector as deployed
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.stage_times import benchmark
from ppdet_lite.utils.files import write_image


@pytest.fixture(scope="module")
def detector(exported):
    return Detector(exported)


# ------------------------------------------------------------------------------------- equality
def test_boxes_equal_the_trained_models(trained, detector, same_boxes):
    assert detector.engine.kernels == "oneDNN"
    image = built_in_image()
    same_boxes(trained, detector, [image, image[::-1].copy(), image[40:300, 100:300].copy()])


def test_boxes_equal_the_trained_models_on_photos(trained, detector, same_boxes, shared_dir):
    photos = sorted((shared_dir / "data" / "coco128" / "train2017").glob("*.jpg"))[8:14]
    same_boxes(trained, detector, [decode_image(photo) for photo in photos])


def test_network_input_is_that_of_evaluation_to_the_bit(detector, small_config, tiny_coco):
    from ppdet_lite.core.workspace import create

    reader = create("EvalReader", load_config(small_config))
    batch = next(iter(reader))
    for index, path in enumerate(batch["im_file"]):
        sample = detector.preprocess(decode_image(path))
        assert (sample["image"] == batch["image"][index]).all()
        assert (sample["im_shape"] == batch["im_shape"][index]).all()
        assert (sample["scale_factor"] == batch["scale_factor"][index]).all()


def test_an_export_for_one_batch_size(broken, tmp_path, monkeypatch):
    path = broken / "infer_cfg.yml"
    settings = {**yaml.safe_load(path.read_text()), "batch_size": 3}
    path.write_text(yaml.safe_dump(settings))
    fixed = Detector(broken)
    run, sizes = fixed.engine.run, []

    def watched(inputs):
        sizes.append(len(inputs["image"]))
        return run(inputs)

    monkeypatch.setattr(fixed.engine, "run", watched)
    image = built_in_image()
    one, two = fixed.predict([image]), fixed.predict([image, image])
    assert sizes == [3, 3] and len(one) == 1 and len(two) == 2
    path = tmp_path / "a.png"
    write_image(path, image)
    text = benchmark(fixed, path, 1)
    assert text.startswith(f"{path}: 1 of a batch of 3, 1 runs, CPU, ")
    np.testing.assert_allclose(one[0], two[1], atol=1e-3)
    with pytest.raises(UserError, match="4 images at once, .* exported for 3; use `batch_size` 3"):
        fixed.predict([image] * 4)


def test_the_highest_score_comes_first(detector, monkeypatch):
    """Whatever order the NMS gives: the greedy one gives classes in turn."""
    bbox = np.zeros((5, 6), np.float32)
    bbox[:, 0], bbox[:, 1] = [0, 1, 1, 2, 0], [0.5, 0.9, 0.5, 0.7, 0.1]
    outputs = (bbox, np.array([4, 1], np.int32))
    monkeypatch.setattr(detector.engine, "run", lambda inputs: outputs)
    first, second = detector.predict([np.zeros((9, 9, 3), np.uint8)] * 2)
    np.testing.assert_array_equal(first, bbox[[1, 3, 0, 2]])
    np.testing.assert_array_equal(second, bbox[4:])


def test_no_image(detector):
    assert detector.predict([]) == []


def test_nothing_found(detector, monkeypatch):
    empty = (np.zeros((0, 6), np.float32), np.zeros(2, np.int32))
    monkeypatch.setattr(detector.engine, "run", lambda inputs: empty)
    black = np.zeros((9, 9, 3), np.uint8)
    assert [len(rows) for rows in detector.predict([black, black])] == [0, 0]


# ------------------------------------------------------------------------------ the command line
def test_a_folder_from_another_working_folder(repo, exported, tiny_coco, tmp_path):
    images = tmp_path / "in"
    (images / "sub").mkdir(parents=True)
    shutil.copy(tiny_coco / "images" / "val_0.jpg", images / "a.jpg")
    shutil.copy(tiny_coco / "images" / "val_1.jpg", images / "sub" / "a.jpg")
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


def with_imports(package, names):
    """Files of the package and all others of it that they import; of the tools' functions those
    about configurations are not called here."""
    found = list(names)
    for name in found:
        text = (package / name).read_text(encoding="utf-8")
        indent = "" if name == "cli/tool.py" else " *"
        for module in re.findall(rf"^{indent}from ppdet_lite\.(\S+) import ", text, re.MULTILINE):
            path = module.replace(".", "/") + ".py"
            found += [] if path in found else [path]
    return found


def named_in_the_readme(repo):
    """What deploy/README.md says that a deployment machine needs of the package."""
    text = " ".join((repo / "deploy" / "README.md").read_text(encoding="utf-8").split())
    sentence = re.search(r"of the package `ppdet_lite/` only (.*?) \(with the `__init__", text)
    return re.findall(r"`([^`]+)`", sentence[1])


def test_no_training_code_is_needed(repo, exported, tiny_coco, tmp_path):
    """A machine that has nothing of the project but what deploy/README.md names."""
    machine, package = tmp_path / "machine", repo / "ppdet_lite"
    named = named_in_the_readme(repo)
    names = [name for name in named if name.endswith(".py")]
    folders = ("runtime/", "utils/")
    assert set(named) - set(names) == set(folders)
    own = [path for path in package.glob("runtime/**/*.py") if path.name != "__init__.py"]
    own = [path.relative_to(package).as_posix() for path in own]
    needed = with_imports(package, ["cli/deploy.py", *own])
    assert set(names) == {name for name in needed if not name.startswith(folders)}
    shutil.copytree(repo / "deploy" / "python", machine / "deploy" / "python")
    for folder in folders:
        shutil.copytree(package / folder, machine / "ppdet_lite" / folder)
    inits = [f"{folder}__init__.py" for folder in ("", "cli/", "core/", "data/", "data/pixels/")]
    for name in [*inits, *names]:
        (machine / "ppdet_lite" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(package / name, machine / "ppdet_lite" / name)
    image = tiny_coco / "images" / "val_0.jpg"
    code = f"""
import runpy, sys
sys.argv = ["infer.py", "--model_dir", {str(exported)!r}, "--image_file", {str(image)!r},
            "--output_dir", {str(tmp_path / "out")!r}]
try:
    runpy.run_path({str(machine / "deploy/python/infer.py")!r}, run_name="__main__")
except SystemExit as stop:
    assert not stop.code
import ppdet_lite.runtime.frames.pipeline, ppdet_lite.runtime.frames.results
print({{module.__file__.split("ppdet_lite")[0] for name, module in sys.modules.items()
       if name.split(".")[0] == "ppdet_lite"}})
print("pycocotools" in sys.modules, "shapely" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str({f"{machine}{os.sep}"}), "False False"]
    assert (tmp_path / "out" / "val_0.json").is_file()


def test_threshold_comes_from_the_model_unless_given(exported, tiny_coco, tmp_path):
    image = str(tiny_coco / "images" / "val_0.jpg")
    common = ["--model_dir", str(exported), "--image_file", image, "--save_images", "False"]
    main([*common, "--output_dir", str(tmp_path / "a")])
    main([*common, "--output_dir", str(tmp_path / "b"), "--threshold", "0.02"])
    assert json.loads((tmp_path / "a" / "val_0.json").read_text())["threshold"] == 0.5
    assert json.loads((tmp_path / "b" / "val_0.json").read_text())["threshold"] == 0.02
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["val_0.json"]


def test_benchmark_prints_each_stage(exported, tiny_coco, tmp_path, capsys):
    image = str(tiny_coco / "images" / "val_0.jpg")
    arguments = ["--model_dir", str(exported), "--image_file", image, "--run_benchmark"]
    main([*arguments, "--repeats", "3", "--output_dir", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    for stage in ("read and decode file", "preprocess", "network, decoding, NMS", "total"):
        assert f"\n{stage} " in printed
    assert "images/s" in printed and not (tmp_path / "out").exists()
    assert printed.startswith(f"{image}: batch 1, 3 runs, CPU, oneDNN kernels\n")


def test_the_benchmark_takes_batches(detector, tiny_coco, monkeypatch):
    run, sizes = detector.engine.run, []

    def watched(inputs):
        sizes.append(len(inputs["image"]))
        return run(inputs)

    monkeypatch.setattr(detector.engine, "run", watched)
    monkeypatch.setattr(deployed, "Detector", lambda *args, **options: detector)
    image = str(tiny_coco / "images" / "val_0.jpg")
    arguments = ["--model_dir", "x", "--image_file", image, "--run_benchmark", "--repeats", "1"]
    clock = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    printed = []
    monkeypatch.setattr("builtins.print", printed.append)
    main([*arguments, "--batch_size", "3"])
    assert set(sizes) == {3}
    assert printed[0].startswith(f"{image}: batch 3, 1 runs, ")
    assert printed[0].endswith("\n1.00 images/s")  # 3 images in three stages of a second each


def test_options_that_would_be_ignored_are_refused():
    images = ["--model_dir", "x", "--image_file", "a.jpg"]
    cases = [
        ([*images, "--max_frames", "3"], "max_frames"),
        ([*images, "--use_openvino", "--engine", "onnxruntime"], "use_openvino"),
        ([*images, "--use_openvino", "--engine", "paddle"], "use_openvino"),
        (["--model_dir", "x", "--video_file", "a.mp4", "--run_benchmark"], "run_benchmark"),
        ([*images, "--threshold", "7"], "threshold"),
        ([*images, "--anno_path", "a.json"], "anno_path"),
        (["--model_dir", "x", "--video_file", "a.mp4", "--anno_path", "a.json"], "anno_path"),
    ]
    for arguments, name in cases:
        with pytest.raises(ConfigError, match=f"^`{name}`"):
            main(arguments)


def test_a_broken_image_is_named_and_the_others_are_done(exported, tiny_coco, tmp_path):
    images = tmp_path / "in"
    images.mkdir()
    shutil.copy(tiny_coco / "images" / "val_0.jpg", images / "a.jpg")
    (images / "z.jpg").write_bytes(b"not an image")
    arguments = ["--model_dir", str(exported), "--image_dir", str(images), "--batch_size", "4"]
    with pytest.raises(ImageError, match=r"in/z\.jpg: "):
        main([*arguments, "--output_dir", str(tmp_path / "out")])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.jpg", "a.json"]


def test_image_ids_are_those_of_the_annotations(small_config, exported, tiny_coco, tmp_path):
    """Of deploy, tools/infer.py and the evaluation, which takes both results."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("val_2.jpg", "val_0.jpg"):
        shutil.copy(tiny_coco / "images" / name, photos / name)
    annotations = str(tiny_coco / "annotations" / "val.json")
    arguments = ["--model_dir", str(exported), "--image_dir", str(photos), "--save_results"]
    main([*arguments, "--anno_path", annotations, "--output_dir", str(tmp_path / "deploy")])
    cfg = load_config(small_config)
    run_inference(cfg, infer_dir=photos, output_dir=tmp_path / "infer", save_results=True)
    for folder in ("deploy", "infer"):
        records = json.loads((tmp_path / folder / "bbox.json").read_text())
        found = {Path(record["file_name"]).name: record["image_id"] for record in records}
        assert found == {"val_0.jpg": 1, "val_2.jpg": 3}
        run_evaluation(cfg, json_eval=True, output_eval=str(tmp_path / folder))
    main([*arguments, "--output_dir", str(tmp_path / "deploy")])  # ids that count from 0
    with pytest.raises(DataError, match="bbox.json: image_id [01]"):
        run_evaluation(cfg, json_eval=True, output_eval=str(tmp_path / "deploy"))


def test_errors_of_an_image_folder_name_the_option(exported, tmp_path):
    for folder, reason in ((tmp_path / "gone", "no such folder"), (tmp_path, "no images")):
        with pytest.raises(DataError, match=f"^`image_dir` {folder}: {reason}"):
            main(["--model_dir", str(exported), "--image_dir", str(folder)])


def test_categories_are_those_of_the_export(broken, tiny_coco, tmp_path):
    """In bbox.json, for images and frames alike."""
    path = broken / "infer_cfg.yml"
    settings = {**yaml.safe_load(path.read_text()), "category_ids": [5, 90]}
    path.write_text(yaml.safe_dump(settings))
    image = tiny_coco / "images" / "val_0.jpg"
    video = tmp_path / "in" / "v.avi"
    video.parent.mkdir()
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 25, (128, 96))
    writer.write(cv2.resize(cv2.imread(str(image)), (128, 96)))
    writer.release()
    for source in (["--image_file", str(image)], ["--video_file", str(video)]):
        arguments = ["--model_dir", str(broken), *source, "--output_dir", str(tmp_path / "out")]
        main([*arguments, "--save_results", "--save_images", "false"])
        records = json.loads((tmp_path / "out" / "bbox.json").read_text())
        assert {record["category_id"] for record in records} == {5, 90}


def test_missing_images_are_named(tmp_path):
    for path, reason in (
        (tmp_path / "gone.jpg", "no such"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(DataError, match=f"`image_file` {path}: {reason}"):
            main(["--model_dir", "x", "--image_file", str(path)])


def test_options_that_are_no_numbers_or_switches(capsys):
    cases = {
        ("--batch_size", "0"): "found 0, allowed: whole numbers from 1",
        ("--cpu_threads", "two"): "found two, allowed: whole numbers from 1 to 1024",
        ("--cpu_threads", "100000"): "found 100000, allowed: whole numbers from 1 to 1024",
        ("--camera_id", "-1"): "found -1, allowed: whole numbers from 0",
        ("--save_images", "maybe"): "found maybe, allowed: true, false",
    }
    for option, message in cases.items():
        with pytest.raises(SystemExit) as caught:
            main(["--model_dir", "x", "--image_file", "a.jpg", *option])
        assert caught.value.code == 2
        assert capsys.readouterr().err.endswith(f"error: argument {option[0]}: {message}\n")


def test_help_is_quick(repo):
    """Nothing is loaded for it but the options: no packages, and few files of the project."""
    code = f"""
import runpy, sys
sys.argv = ["deploy/python/infer.py", "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
print(sorted({{"paddle", "cv2", "numpy", "yaml", "tqdm", "multiprocessing"}} & set(sys.modules)))
files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
root = {f"{repo}{os.sep}"!r}
files = [file[len(root) :] for file in files if file.startswith(root)]
print(*sorted(file for file in files if file.startswith(("deploy", "ppdet_lite"))))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    usage, packages, files = done.stdout.rsplit("\n", 3)[:3]
    assert usage.startswith("usage: ") and packages == "[]"
    files = [file for file in files.split() if not file.endswith("__init__.py")]
    assert files == [
        "ppdet_lite/cli/deploy.py",
        "ppdet_lite/cli/drawing_options.py",
        "ppdet_lite/cli/inputs.py",
        "ppdet_lite/cli/tool.py",
        "ppdet_lite/core/errors.py",
        "ppdet_lite/core/suggest.py",
        "ppdet_lite/runtime/options.py",
        "ppdet_lite/utils/cpu.py",
    ]
