"""deploy/cpp gives the boxes, files, messages and exit codes of deploy/python."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
import yaml

from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.contract import INT8_FILES, ModelFolder
from ppdet_lite.runtime.detector import Detector


def results_of(folder):
    """Rows (class, score, x, y, width, height) by image id."""
    found = {}
    for record in json.loads((folder / "bbox.json").read_text()):
        row = [record["category_id"], record["score"], *record["bbox"]]
        found.setdefault(record["image_id"], []).append(row)
    return {image: np.array(rows) for image, rows in found.items()}


def expected(model_dir, photos, **options):
    """The rows of deploy/python's engine, in the order of the files."""
    detector = Detector(model_dir, engine="openvino", **options)
    ids = detector.category_ids or range(len(detector.class_names))
    for number, photo in enumerate(photos):
        rows = detector.predict([decode_image(photo)])[0]
        if len(rows):
            category = [ids[int(row[0])] for row in rows]
            box = np.concatenate([rows[:, 2:4], rows[:, 4:] - rows[:, 2:4]], axis=1)
            yield number, np.column_stack([category, rows[:, 1], box])


@pytest.mark.parametrize(
    "kind, batch, size",
    [
        ("fixed", 1, []),
        ("fixed", 4, []),
        ("open", 1, [320, 416]),
        ("open", 4, [416]),
        ("four", 4, []),
        ("four", 3, []),
        ("padded", 4, []),
    ],
)
def test_boxes_are_those_of_python(infer, nano, photos, tmp_path, kind, batch, size):
    (tmp_path / "photos").mkdir()
    for photo in photos:
        shutil.copy(photo, tmp_path / "photos")
    options = ["--input_size", *size] if size else []
    infer(
        *("--model_dir", nano[kind], "--image_dir", tmp_path / "photos", "--save_results"),
        *("--batch_size", batch, "--output_dir", tmp_path / "out", "--save_images", "false"),
        *options,
    )
    found = results_of(tmp_path / "out")
    reference = dict(expected(nano[kind], photos, input_size=size or None))
    assert found.keys() == reference.keys() and len(found) > 20
    for image, rows in reference.items():
        assert found[image].shape == rows.shape
        np.testing.assert_array_equal(found[image][:, 0], rows[:, 0])
        np.testing.assert_allclose(found[image][:, 1], rows[:, 1], atol=1e-3)
        np.testing.assert_allclose(found[image][:, 2:], rows[:, 2:], atol=1e-2)


def test_cubic_resizing_moves_boxes_by_little(infer, nano, photos, tmp_path):
    """One of 10,000 pixels has another level in the distribution's OpenCV; fixed-point numbers
    would give 200 times as many.
    """
    folder, output = nano["cubic"], tmp_path / "out"
    options = ["--model_dir", folder, "--image", *photos, "--save_results"]
    infer(*options, "--output_dir", output, "--save_images", "false")
    found, reference = results_of(output), dict(expected(folder, photos))
    count = 0
    for image, rows in reference.items():
        confident, ours = (part[part[:, 1] > 0.3] for part in (rows, found[image]))
        confident, ours = (part[np.argsort(part[:, 2])] for part in (confident, ours))
        np.testing.assert_array_equal(ours[:, 0], confident[:, 0])
        np.testing.assert_allclose(ours[:, 1], confident[:, 1], atol=1e-3)
        np.testing.assert_allclose(ours[:, 2:], confident[:, 2:], atol=0.05)
        count += len(confident)
    assert count > 60


def test_the_file_in_int8_is_run(infer, nano, photos, tmp_path):
    """A stand-in for what tools/quantize.py writes, in the same format, with rounded weights."""
    import openvino

    folder, image = tmp_path / "model", photos[0]
    shutil.copytree(nano["fixed"], folder)
    model = openvino.convert_model(str(ModelFolder(folder, "openvino").graph))
    graph, weights = (folder / name for name in INT8_FILES["openvino"])
    options = ["--model_dir", folder, "--image_file", image, "--save_results"]
    options += ["--output_dir", tmp_path / "out", "--precision", "int8"]
    done = infer(*options, code=2)
    assert "no model_int8.xml in it; ppdet quantize" in done.stderr
    openvino.save_model(model, str(graph))  # in float16
    infer(*options)
    found = results_of(tmp_path / "out")[0]
    exact, rounded = (
        dict(expected(folder, [image], precision=precision))[0] for precision in ("fp32", "int8")
    )
    np.testing.assert_allclose(found, rounded, atol=1e-2)
    assert np.abs(exact[:5] - rounded[:5]).max() > 0.02  # not the float32 file
    weights.unlink()
    assert f"{weights}: missing" in infer(*options, code=2).stderr


def test_the_file_in_float16_is_run(infer, nano, photos, tmp_path):
    options = ["--image", photos[0], "--save_results", "--precision", "fp16"]
    options += ["--output_dir", tmp_path / "out", "--use_openvino"]
    infer("--model_dir", nano["fixed"], *options)
    found = results_of(tmp_path / "out")[0]
    exact, half = (
        dict(expected(nano["fixed"], [photos[0]], precision=precision))[0]
        for precision in ("fp32", "fp16")
    )
    np.testing.assert_allclose(found, half, atol=1e-2)
    assert np.abs(exact[:5] - half[:5]).max() > 0.02
    done = infer("--model_dir", nano["open"], *options, code=2)
    assert "no model_portable_fp16.onnx and no model_fp16.onnx in it" in done.stderr


def test_files_are_those_of_python(infer, nano, photos, tmp_path):
    from ppdet_lite.cli.deploy import main

    image = photos[0]
    options = ["--model_dir", nano["fixed"], "--infer_img", image, "--threshold", "0.4"]
    infer(*options, "--output_dir", tmp_path / "cpp")
    main([*map(str, options), "--engine", "openvino", "--output_dir", str(tmp_path / "python")])
    name = f"{image.stem}.json"
    ours, theirs = (json.loads((tmp_path / kind / name).read_text()) for kind in ("cpp", "python"))
    assert list(ours) == list(theirs)
    assert ours["threshold"] == pytest.approx(theirs["threshold"])
    assert ours["width"] == theirs["width"] and ours["image"] == theirs["image"]
    assert len(ours["detections"]) == len(theirs["detections"]) > 0
    for mine, other in zip(ours["detections"], theirs["detections"]):
        assert list(mine) == list(other) and mine["class_name"] == other["class_name"]
    drawn, other = (decode_image(tmp_path / kind / image.name) for kind in ("cpp", "python"))
    assert drawn.shape == other.shape
    # Letters of another OpenCV, and of another size on small boxes.
    assert np.abs(drawn.astype(int) - other).mean() < 4
    assert np.abs(drawn.astype(int) - decode_image(image)).max() > 100  # boxes are there


def test_thresholds_of_each_class_are_those_of_python(infer, nano, photos, tmp_path):
    from ppdet_lite.cli.deploy import main

    thresholds = [0.1 + 0.01 * (number % 40) for number in range(80)]
    model = damaged(nano, tmp_path / "model", lambda c: c.update(thresholds=thresholds))
    options = ["--model_dir", model, "--image_file", *photos[:3], "--threshold", "auto"]
    infer(*options, "--output_dir", tmp_path / "cpp", "--save_images", "false")
    python = ["--engine", "openvino", "--output_dir", str(tmp_path / "python")]
    main([*map(str, options), *python, "--save_images", "false"])
    count = 0
    for photo in photos[:3]:
        ours, theirs = (
            json.loads((tmp_path / kind / f"{photo.stem}.json").read_text())
            for kind in ("cpp", "python")
        )
        assert ours["threshold"] == theirs["threshold"] == pytest.approx(thresholds)
        names = [[found["class_name"] for found in each["detections"]] for each in (ours, theirs)]
        assert names[0] == names[1]
        assert all(f["score"] >= thresholds[f["class_id"]] for f in ours["detections"])
        count += len(names[0])
    assert count > 5
    options[1] = nano["fixed"]
    assert "has no thresholds; allowed: 0 to 1" in infer(*options, code=2).stderr
    assert "found nan, allowed: 0 to 1" in infer(*options[:-1], "nan", code=2).stderr


def test_ids_of_annotations(infer, nano, photos, shared_dir, tmp_path):
    annotations = shared_dir / "data" / "coco128" / "annotations" / "instances_train2017.json"
    infer(
        *("--model_dir", nano["fixed"], "--image", *photos[:2], "--save_results", "True"),
        *("--anno_path", annotations, "--output_dir", tmp_path / "out"),
    )
    assert set(results_of(tmp_path / "out")) == {int(photo.stem) for photo in photos[:2]}


def test_a_video_is_drawn_and_its_frames_are_lines(infer, nano, photos, tmp_path):
    writer = cv2.VideoWriter(
        str(tmp_path / "street.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240)
    )
    for photo in photos[:5]:
        writer.write(cv2.resize(cv2.imread(str(photo)), (320, 240)))
    writer.release()
    done = infer(
        *("--model_dir", nano["fixed"], "--video_file", tmp_path / "street.avi", "--batch_size", 2),
        *("--output_dir", tmp_path / "out", "--max_frames", 4, "--save_results"),
    )
    records = json.loads((tmp_path / "out" / "bbox.json").read_text())
    assert records[0]["file_name"] == f"{tmp_path / 'street.avi'}#0"
    lines = [json.loads(line) for line in (tmp_path / "out" / "street.jsonl").open()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3] and "4 frames" in done.stdout
    assert [line["time_s"] for line in lines] == [0, 0.1, 0.2, 0.3]
    video = cv2.VideoCapture(str(tmp_path / "out" / "street.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4


def test_a_video_with_odd_sides_keeps_them(infer, nano, photos, tmp_path):
    """As Motion JPEG by OpenCV itself: FFmpeg takes even sides only."""
    path, size = tmp_path / "odd.avi", (161, 121)
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, code, 10, size)
    for photo in photos[:2]:
        writer.write(cv2.resize(cv2.imread(str(photo)), size))
    writer.release()
    infer("--model_dir", nano["fixed"], "--video_file", path, "--output_dir", tmp_path / "out")
    video = cv2.VideoCapture(str(tmp_path / "out" / "odd.avi"))
    sides = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT
    assert [video.get(side) for side in sides] == [*size, 2]


def test_the_benchmark_prints_percentiles(infer, nano, photos):
    options = ["--image_file", photos[0], "--run_benchmark", "--repeats", 2]
    printed = infer("--model_dir", nano["fixed"], *options).stdout
    assert re.search(r"network, decoding, NMS( +[\d.]+){3}\n", printed)
    assert "median ms" in printed and "p95 ms" in printed and "images/s" in printed


def damaged(nano, folder, change):
    """A copy of an export in which `change` changes infer_cfg.yml's content."""
    shutil.copytree(nano["fixed"], folder)
    path = folder / "infer_cfg.yml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda c: c.update(format_version=99), "format_version: found 99, allowed: up to"),
        (lambda c: c["Preprocess"].insert(0, {"type": "Sharpen"}), "Preprocess.0.type: found 'Sha"),
        (lambda c: c["Preprocess"][0].update(blur=1), "unknown key 'blur'"),
        (lambda c: c.pop("label_list"), "the list 'label_list' is missing"),
        (lambda c: c.update(stage="raw"), "exported up to the stage raw"),
        (lambda c: c.update(image_shape=[3, 64, 64]), "allowed: [64, 64], the size of the graph"),
        (lambda c: c.update(draw_threshold=float("nan")), "draw_threshold: found .nan, allowed: 0"),
        (lambda c: c.update(batch_size=True), "batch_size: found true, allowed: 1 to"),
        (lambda c: c.update(category_ids=[1]), "category_ids: found a list of 1, allowed: 80"),
        (lambda c: c.update(thresholds=[0.5]), "thresholds: found a list of 1, allowed: 80 scores"),
        (lambda c: c.update(thresholds=[2] * 80), "thresholds.0: found 2, allowed: 80 scores"),
        (lambda c: c["Preprocess"].reverse(), "found after"),
    ],
)
def test_settings_that_cannot_be_used_are_named(infer, nano, photos, tmp_path, change, problem):
    folder = damaged(nano, tmp_path / "model", change)
    done = infer("--model_dir", folder, "--image_file", photos[0], code=2)
    assert problem in done.stderr and done.stderr.count("\n") == 1


def test_files_that_cannot_be_used_are_named(infer, nano, photos, tmp_path):
    image = ["--image_file", photos[0]]
    model = ["--model_dir", nano["fixed"]]

    def refused(*options, problem):
        done = infer(*options, "--output_dir", tmp_path / "out", code=2)
        assert problem in done.stderr and done.stderr.count("\n") == 1, done.stderr

    refused("--model_dir", tmp_path / "gone", *image, problem="no such folder")
    refused("--model_dir", tmp_path, *image, problem="no model_portable.onnx and no model.onnx")
    cut = tmp_path / "cut"
    shutil.copytree(nano["fixed"], cut)
    graph = ModelFolder(cut, "openvino").graph
    graph.write_bytes(graph.read_bytes()[:-100])
    refused("--model_dir", cut, *image, problem=f"{graph}: found ")
    config = cut / "infer_cfg.yml"
    config.write_text(config.read_text().partition("files:")[0])
    refused("--model_dir", cut, *image, problem="OpenVINO cannot run this model")
    config.write_text("{")
    refused("--model_dir", cut, *image, problem="not a YAML file")
    png, bmp = (
        cv2.imencode(kind, decode_image(photos[0]))[1].tobytes() for kind in (".png", ".bmp")
    )
    for name, content, problem in (
        ("text.jpg", b"no image", "not an image"),
        ("empty.jpg", b"", "the file is empty"),
        ("cut.jpg", photos[0].read_bytes()[:5000], "cut short"),
        ("cut.png", png[: len(png) // 2], "damaged"),
        ("cut.bmp", bmp[: len(bmp) // 2], "damaged"),
        ("huge.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\10\2\0\0\0", "pixels"),
    ):
        (tmp_path / name).write_bytes(content)
        refused(*model, "--image_file", tmp_path / name, problem=problem)
    refused(*model, "--image_file", tmp_path / "gone.jpg", problem="no such image")
    refused(*model, "--image_dir", tmp_path / "gone", problem="no such folder")
    refused(*model, "--video_file", photos[0].parent, problem="is a folder: use --image_dir")
    refused(*model, *image, "--input_size", "320", problem="takes one size only")
    refused(*model, *image, "--engine", "paddle", problem="allowed in this build: openvino")
    refused(*model, *image, "--threshold", "2", problem="--threshold")
    refused(*model, *image, "--max_frames", "3", problem="--max_frames needs")
    refused(*model, *image, "--outputdir", "x", problem="--help")
    refused(*model, problem="required")


def test_good_images_are_done_although_others_are_bad(infer, nano, photos, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    done = infer(
        *("--model_dir", nano["fixed"], "--image_file", tmp_path / "bad.jpg", photos[0]),
        *("--output_dir", tmp_path / "out", "--save_results"),
        code=2,
    )
    assert f"{tmp_path / 'bad.jpg'}: not an image" in done.stderr and done.stderr.count("\n") == 1
    assert set(results_of(tmp_path / "out")) == {1}


def test_a_batch_of_four_takes_no_more(infer, nano, photos):
    done = infer(
        *("--model_dir", nano["four"], "--image_file", *photos[:5], "--batch_size", 5), code=2
    )
    assert "takes 4; use --batch_size 4" in done.stderr


def test_exif_turns_images_upright(infer, nano, photos, tmp_path):
    image = decode_image(photos[3])
    cv2.imwrite(str(tmp_path / "lying.webp"), cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE))
    data = (tmp_path / "lying.webp").read_bytes()
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    height, width = image.shape[1], image.shape[0]
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X\x0a\0\0\0\x08\0\0\0" + sizes + data[12:]
    body += b"EXIF" + len(exif).to_bytes(4, "little") + exif
    path = tmp_path / "photo.webp"
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
    assert decode_image(path).shape == image.shape
    infer(
        *("--model_dir", nano["fixed"], "--image_file", path, "--output_dir", tmp_path / "out"),
    )
    written = json.loads((tmp_path / "out" / "photo.json").read_text())
    assert (written["height"], written["width"]) == image.shape[:2]
