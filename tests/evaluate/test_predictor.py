"""tools/infer.py's work: detections, images, names, and what happens with bad input."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError, ImageError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.evaluate.predictor import Predictor, collect_images, run_inference
from ppdet_lite.weights.checkpoint import read_meta


@pytest.fixture
def images(tiny_coco, tmp_path):
    """a.jpg, sub/a.jpg, notes.txt in a folder of their own."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(tiny_coco / "images" / "val_0.jpg", folder / "a.jpg")
    shutil.copy(tiny_coco / "images" / "val_1.jpg", folder / "sub" / "a.jpg")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_folder_becomes_images_and_json(small_config, images, tmp_path, capsys):
    out = tmp_path / "out"
    found = run_inference(
        load_config(small_config),
        infer_dir=images,
        output_dir=out,
        draw_threshold=0.05,
        save_results=True,
    )
    written = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert written == ["a.jpg", "a.json", "bbox.json", "sub/a.jpg", "sub/a.json"]
    content = json.loads((out / "sub" / "a.json").read_text())
    assert (content["width"], content["height"]) == (128, 96)
    bbox = found[str(images / "sub" / "a.jpg")]
    shown = bbox[bbox[:, 1] >= 0.05]
    assert len(content["detections"]) == len(shown) > 3
    for detection, row in zip(content["detections"], shown):
        assert detection["class_name"] == ["square", "circle"][int(row[0])]
        assert detection["box"] == pytest.approx(row[2:].tolist(), abs=1e-3)
    records = json.loads((out / "bbox.json").read_text())
    assert {r["file_name"] for r in records} == {str(p) for p in images.rglob("*.jpg")}
    assert len(records) == sum(len(rows) for rows in found.values())  # low scores as well
    assert min(r["score"] for r in records) < 0.05
    # 128 px wide images are enlarged to 384 before drawing, so that the labels can be read.
    assert cv2.imread(str(out / "a.jpg")).shape == (288, 384, 3)
    assert f"{images / 'a.jpg'}: " in capsys.readouterr().err


def test_each_class_has_its_own_threshold(small_config, images, tmp_path):
    cfg = load_config(small_config)
    with pytest.raises(ConfigError, match="`threshold`: found auto, but no thresholds are stored"):
        run_inference(cfg, infer_dir=images, output_dir=tmp_path, draw_threshold="auto")
    source, copied = Path(cfg.weights), tmp_path / "weights" / "model"
    copied.parent.mkdir()
    shutil.copy(f"{source}.pdparams", f"{copied}.pdparams")
    meta = {key: value for key, value in read_meta(cfg.weights).items() if key != "files"}
    Path(f"{copied}.meta.json").write_text(json.dumps({**meta, "thresholds": [1.0, 0.0]}))
    cfg = load_config(small_config, [f"weights={copied}"])
    run_inference(cfg, infer_dir=images, output_dir=tmp_path, draw_threshold="auto")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["threshold"] == [1.0, 0.0]
    assert {found["class_name"] for found in content["detections"]} == {"circle"}


def test_boxes_are_pixels_of_the_image_whatever_its_size(small_config, images):
    predictor = Predictor.from_config(load_config(small_config))
    image = decode_image(images / "a.jpg")
    big = cv2.resize(image, (1280, 960), interpolation=cv2.INTER_NEAREST)
    bbox = predictor(big)
    assert 640 < bbox[:, 4].max() <= 1279 and bbox[:, 5].max() <= 959
    assert bbox[:, 2:4].min() >= 0


def test_a_broken_image_is_named_and_the_others_are_done(small_config, images, tmp_path):
    (images / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    with pytest.raises(ImageError, match=r"^.*in/broken\.jpg: "):
        run_inference(load_config(small_config), infer_dir=images, output_dir=tmp_path / "out")
    assert (tmp_path / "out" / "a.jpg").is_file()
    assert (tmp_path / "out" / "sub" / "a.json").is_file()
    assert not (tmp_path / "out" / "broken.jpg").exists()


def test_input_that_is_not_there(images):
    with pytest.raises(DataError, match=r"in/gone\.jpg: no such image"):
        collect_images([images / "gone.jpg"])
    with pytest.raises(DataError, match="in: is a folder: use `infer_dir`"):
        collect_images([images])
    for wrong in ({}, {"infer_img": ["x"], "infer_dir": "y"}):
        with pytest.raises(ConfigError, match="`infer_img` or `infer_dir`"):
            collect_images(**wrong)


def test_a_single_pixel_and_a_gray_image(small_config, tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((1, 1), np.uint8))
    found = run_inference(
        load_config(small_config), infer_img=[tmp_path / "one.png"], output_dir=tmp_path / "out"
    )
    assert (tmp_path / "out" / "one.json").is_file() and len(found) == 1


def test_weights_that_leave_layers_random_are_refused(small_config, images, tmp_path):
    cfg = load_config(small_config, ["num_classes=3", "TestDataset=null"])
    with pytest.raises(CheckpointError) as caught:
        run_inference(cfg, infer_dir=images, output_dir=tmp_path / "out")
    assert "6 of another shape, left as they were: yolo_head.yolo_output.0.weight" in str(
        caught.value
    )
    assert "allow_partial_weights=true" in str(caught.value)


def test_a_size_or_threshold_that_cannot_be_is_refused(small_config, images, tmp_path):
    size = "TestReader.sample_transforms.Resize.target_size"
    cfg = load_config(small_config, [f"{size}=[90,128]"])
    with pytest.raises(ConfigError, match=f"{size}: found 90 x 128 .*for instance 96 x 128"):
        run_inference(cfg, infer_dir=images, output_dir=tmp_path / "out")
    for threshold in (float("nan"), 2):
        with pytest.raises(ConfigError, match=f"found {threshold}, allowed: 0 to 1"):
            run_inference(
                load_config(small_config),
                infer_dir=images,
                output_dir=tmp_path / "out",
                draw_threshold=threshold,
            )
    assert not (tmp_path / "out").exists()
