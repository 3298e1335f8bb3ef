"""Trainings, evaluations and deployments of public bug reports."""

import json
import subprocess
import sys

import numpy as np
import paddle
import pytest

from tests.cases.sets import (
    WIDTH,
    coco_content,
    training_config,
    without_folder,
    write_coco,
    write_image,
    write_text,
    write_yolo,
)
from tests.conftest import REPO


def run(tool, *arguments, code=0):
    """Runs a tool; returns its output without the folder of the test."""
    command = [sys.executable, f"{REPO}/{tool}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    output = done.stdout + done.stderr
    assert done.returncode == code and "Traceback" not in output, output[-2000:]
    return without_folder(output)


def train(config, *arguments, code=0):
    return run("tools/train.py", "-c", config, *arguments, code=code)


def test_only_crowds_are_no_training_data(tmp_path):
    content = coco_content(folder=tmp_path / "img")
    for entry in content["annotations"]:
        mask = {"counts": [700, 20, 5424], "size": [64, WIDTH]}
        entry.update(iscrowd=1, segmentation=mask)
    config = training_config(tmp_path, write_coco(tmp_path, content), 2)
    output = train(config, "--eval", code=2)
    assert "4 crowd" in output.partition("error: ")[2] and "Epoch:" not in output


def test_labels_in_another_folder_are_missed_before_the_first_step(tmp_path):
    lines = "0 0.5 0.5 0.3 0.3\n"
    section = write_yolo(tmp_path, {f"{i}.jpg": lines for i in range(4)}, labels="Annotations")
    output = train(training_config(tmp_path, section, 1), code=2)
    assert " /labels" in output and "Epoch:" not in output


def test_more_objects_than_an_evaluation_counts_are_told(tmp_path):
    content = coco_content(2)
    content["annotations"] = []
    for image in content["images"]:
        write_image(tmp_path / "img" / image["file_name"], np.zeros((160, 160, 3), np.uint8))
        image.update(width=160, height=160)
        for place in range(400):
            box = [8 * (place % 20) + 1, 8 * (place // 20) + 1, 6, 6]
            content["annotations"].append(
                {"id": place, "image_id": image["id"], "category_id": 1, "bbox": box, "area": 36}
            )
    output = train(training_config(tmp_path, write_coco(tmp_path, content), 2), "--eval")
    assert "keep_top_k" in output and "400" in output


def test_16_bit_images_that_use_12_bits_are_told(tmp_path):
    content = coco_content(folder=tmp_path / "img")
    for image in content["images"]:
        pixels = np.random.default_rng(0).integers(300, 900, (64, 96), np.uint16)
        pixels[10:30, 20:40] = 4000
        image["file_name"] = f"{image['id']}.png"
        write_image(tmp_path / "img" / image["file_name"], pixels)
    output = train(training_config(tmp_path, write_coco(tmp_path, content), 2))
    assert "images of 16 bits (or more) whose upper 8 are nearly black" in output


def test_1203_classes_train_evaluate_and_draw(tmp_path):
    content = coco_content(folder=tmp_path / "img")
    content["categories"] = [{"id": 1 + i, "name": f"name {i}"} for i in range(1203)]
    for entry in content["annotations"]:
        entry["category_id"] = 1 + 300 * (entry["id"] - 1)
    config = training_config(tmp_path, write_coco(tmp_path, content), 1203)
    train(config, "--eval")
    options = ["--infer_dir", tmp_path / "img", "--output_dir", tmp_path / "drawn"]
    weights = f"weights={tmp_path}/out/c/best_model"
    run("tools/infer.py", "-c", config, "-o", weights, *options, "--draw_threshold", "0.001")
    assert len(list((tmp_path / "drawn").glob("*.jpg"))) == 4


def test_a_frozen_backbone_keeps_its_weights(tmp_path):
    content = coco_content(folder=tmp_path / "img")
    config = training_config(tmp_path, write_coco(tmp_path, content), 2)
    frozen = ["use_ema=false", "ResNet.freeze_at=3", "ResNet.freeze_norm=true", "seed=3"]
    states = []
    for epochs in (1, 2):
        train(config, "-o", *frozen, f"epoch={epochs}", f"save_dir={tmp_path}/{epochs}")
        states.append(paddle.load(f"{tmp_path}/{epochs}/c/model_final.pdparams"))
    same = {key: np.array_equal(*(np.asarray(state[key]) for state in states)) for key in states[0]}
    assert all(equal for key, equal in same.items() if key.startswith("backbone."))
    assert not all(same.values())


def test_folders_with_blanks_and_other_letters(tmp_path):
    root = tmp_path / "mein Ordner ü 图"
    content = coco_content(folder=root / "img")
    config = training_config(root, write_coco(root, content), 2).rename(root / "meine Daten.yml")
    train(config)
    exported, results = root / "fertig ü", root / "er gebnis"
    weights = f"weights={root}/out/meine Daten/model_final"
    run("tools/export_model.py", "-c", config, "-o", weights, "--output_dir", exported)
    folder = next(exported.iterdir())
    options = ["--image_dir", root / "img", "--output_dir", results]
    run("deploy/python/infer.py", "--model_dir", folder, "--device", "CPU", *options)
    assert len(list(results.glob("*.jpg"))) == 4


@pytest.mark.parametrize("cut", [2, 400])
def test_one_damaged_image_of_the_evaluation_set_ends_no_training(tmp_path, cut):
    content = coco_content(folder=tmp_path / "img")
    val = coco_content(20, tmp_path / "img")
    whole = (tmp_path / "img/7.jpg").read_bytes()
    (tmp_path / "img/7.jpg").write_bytes(whole[:-cut])
    sections = write_coco(tmp_path, content), write_coco(tmp_path, val, "val.json")
    output = train(training_config(tmp_path, sections[0], 2, sections[1]), "--eval")
    assert "bbox/AP" in output
    assert ("7.jpg" in output) == (cut > 2)  # only the end mark is missing: read as it is


@pytest.mark.parametrize(
    "name, content, code",
    [
        ("crlf.yml", b"%s\r\nTrainReader:\r\n  batch_size: 5\r\n", 0),
        ("bom.yml", b"\xef\xbb\xbf%s\nTrainReader: {batch_size: 5}\n", 0),
        ("a \xfc/mit Blank.yml", b"%s\nTrainReader: {batch_size: 5}\n", 0),
        ("tab.yml", b"%s\nTrainReader:\n\tbatch_size: 5\n", 2),
        ("gbk.yml", b"%s\n# \xd1\xb5\xc1\xb7\nepoch: 3\n", 2),
        ("brace.yml", b"%s\nTrainReader: {batch_size: 5\n", 2),
    ],
)
def test_texts_of_configurations(tmp_path, name, content, code):
    base = f"_BASE_: {REPO}/configs/ppyolo/ppyolov2_r18vd_dcn_demo.yml"
    path = tmp_path / name
    write_text(path, "")
    path.write_bytes(content % base.encode())
    output = train(path, "--print-config", code=code)
    assert ("batch_size: 5" if code == 0 else name) in output


def test_results_of_another_data_set_are_refused(tmp_path):
    content = coco_content(folder=tmp_path / "img")
    config = training_config(tmp_path, write_coco(tmp_path, content), 2)
    box = {"category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    write_text(tmp_path / "res/bbox.json", json.dumps([{"image_id": 99, **box}]))
    options = ["--json_eval", "--output_eval", tmp_path / "res"]
    output = run("tools/eval.py", "-c", config, *options, code=2)
    assert "bbox.json" in output and "99" in output
