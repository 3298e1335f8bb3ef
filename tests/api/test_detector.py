"""`from ppdet_lite import Detector, train`."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

import ppdet_lite
from ppdet_lite.api.result import Result
from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError, ImageError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.evaluate.predictor import Predictor


@pytest.fixture(scope="module")
def detector(small_config):
    return ppdet_lite.Detector(small_config, threshold=0.05)


@pytest.fixture(scope="module")
def image(tiny_coco):
    return tiny_coco / "images" / "val_0.jpg"


def pixels(path):
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def test_results_are_the_boxes_of_the_predictor(detector, small_config, image):
    (result,) = detector.predict(image)
    rows = Predictor.from_config(load_config(small_config))(pixels(image))
    rows = rows[(rows[:, 1] >= 0.05) & (rows[:, 0] >= 0)]
    rows = rows[np.argsort(-rows[:, 1], kind="stable")]
    assert len(result) == len(rows) > 3
    np.testing.assert_allclose(result.boxes_xyxy, rows[:, 2:], atol=1e-3)
    np.testing.assert_allclose(result.scores, rows[:, 1], atol=1e-6)
    assert result.names == [["square", "circle"][index] for index in result.class_ids]
    assert result.source == str(image) and (result.image == pixels(image)).all()


def test_arrays_lists_folders_and_thresholds(detector, image, tmp_path):
    of_path, of_array = (detector.predict(each)[0] for each in (str(image), pixels(image)))
    np.testing.assert_array_equal(of_path.boxes_xyxy, of_array.boxes_xyxy)
    (tmp_path / "deep").mkdir()
    for name in ("a.png", "deep/b.png"):
        cv2.imwrite(str(tmp_path / name), pixels(image)[..., ::-1])
    found = detector.predict([tmp_path, pixels(image)])
    names = [str(tmp_path / "a.png"), str(tmp_path / "deep/b.png"), "image 1"]
    assert [result.source for result in found] == names
    assert len(detector.predict(image, threshold=0.6)[0]) < len(found[0])
    for wrong in (2, "a", float("nan")):
        with pytest.raises(ConfigError, match=f"`threshold`: found {wrong!r}"):
            detector.predict(image, threshold=wrong)
    for wrong in (pixels(image).astype(float), pixels(image)[..., :2]):
        with pytest.raises(DataError, match="image 0: found .*uint8"):
            detector.predict(wrong)
    with pytest.raises(DataError, match="gone: no such image"):
        detector.predict(tmp_path / "gone")


def test_files_in_a_folder_that_are_damaged_are_left_out(detector, image, tmp_path, caplog):
    for name in ("a.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(image.read_bytes())
    bad = tmp_path / "b.jpg"
    bad.write_bytes(image.read_bytes()[:200])
    with caplog.at_level("WARNING", logger="ppdet_lite"):
        found = detector.predict(tmp_path)
    assert [result.source for result in found] == [str(tmp_path / n) for n in ("a.jpg", "c.jpg")]
    for source in (bad, [image, bad]):
        with pytest.raises(ImageError, match="b.jpg"):
            detector.predict(source)
    for name in ("a.jpg", "c.jpg"):
        (tmp_path / name).unlink()
    with pytest.raises(ImageError, match="none of its 1 images can be read"):
        detector.predict(tmp_path)


def test_a_video_is_read_frame_by_frame(detector, image, tmp_path):
    path, frame = tmp_path / "v.avi", cv2.imread(str(image))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, frame.shape[1::-1])
    for step in range(3):
        writer.write(np.roll(frame, 20 * step, axis=1))
    writer.release()
    found = detector.predict(path)
    assert [result.source for result in found] == [f"{path}#{n}" for n in range(3)]
    assert abs(found[2].image.astype(int) - np.roll(pixels(image), 40, axis=1)).mean() < 8


def test_results_go_elsewhere(detector, image, tmp_path):
    (result,) = detector.predict(image)
    assert result.plot().shape == result.image.shape and (result.plot() != result.image).any()
    assert cv2.imread(str(result.save(tmp_path / "out" / "drawn.png"))).shape[2] == 3
    assert '"detections"' in result.save(tmp_path / "found.json").read_text()
    for name in ("new/x", "x.xyz"):
        with pytest.raises(ConfigError, match=rf"`path`: found .*{name}, allowed: .*\.jpg"):
            result.save(tmp_path / name)
    assert not (tmp_path / "new").exists()
    record = result.to_coco(image_id=7)[0]
    x1, y1, x2, y2 = result.boxes_xyxy[0]
    assert record["image_id"] == 7
    np.testing.assert_allclose(record["bbox"], [x1, y1, x2 - x1, y2 - y1], atol=2e-3)


def test_pandas(detector, image):
    pytest.importorskip("pandas")
    (result,) = detector.predict(image)
    table = result.to_pandas()
    assert list(table.columns) == "source name class_id score x1 y1 x2 y2".split()
    np.testing.assert_allclose(table[["x1", "y1", "x2", "y2"]], result.boxes_xyxy)
    empty = Result.of(np.zeros((0, 6)), ["square"], None, "x", lambda: pixels(image))
    assert len(empty) == len(empty.to_pandas()) == len(empty.to_coco()) == 0
    assert (empty.plot() == pixels(image)).all()


def test_supervision(detector, image):
    pytest.importorskip("supervision")
    (result,) = detector.predict(image)
    found = result.to_supervision()
    np.testing.assert_array_equal(found.xyxy, result.boxes_xyxy)
    assert list(found.data["class_name"]) == result.names


def test_an_exported_folder_gives_the_same_boxes(detector, exported, image):
    expected, found = detector.predict(image)[0], ppdet_lite.Detector(exported).predict(image, 0.05)
    np.testing.assert_allclose(found[0].boxes_xyxy, expected.boxes_xyxy, atol=0.05)
    assert found[0].names == expected.names
    with pytest.raises(ConfigError, match="`weights`, `config`"):
        ppdet_lite.Detector(exported, weights="x")
    with pytest.raises(ConfigError, match="`enginne`: .* did you mean 'engine'"):
        ppdet_lite.Detector(exported, enginne="onnxruntime")


def test_a_checkpoint_with_its_configuration(detector, small_config, image):
    weights = small_config.parent / "weights" / "small.pdparams"
    found = ppdet_lite.Detector(weights, config=small_config).predict(image, 0.05)[0]
    np.testing.assert_array_equal(found.boxes_xyxy, detector.predict(image)[0].boxes_xyxy)
    with pytest.raises(ConfigError, match="found no configuration beside it .*give `config`"):
        ppdet_lite.Detector(weights)
    with pytest.raises(CheckpointError, match="no weights are published for ppyolov2_ablation_b"):
        ppdet_lite.Detector("ppyolov2_ablation_b")


def test_a_training_returns_its_run_and_its_checkpoint_is_complete(tiny_coco, tmp_path):
    places = [
        f"{section}Dataset={{name: COCODataSet, dataset_dir: {tiny_coco}, image_dir: images, "
        f"anno_path: annotations/{split}.json}}"
        for section, split in (("Train", "train"), ("Eval", "val"))
    ]
    edited = tmp_path / "py runs #1: a" / "ppyolov2_r18vd_dcn_demo" / "ppyolov2_r18vd_dcn_demo.yml"
    edited.parent.mkdir(parents=True)
    edited.write_text("# of an earlier run\n")
    run = ppdet_lite.train(
        "ppyolov2_r18vd_dcn_demo",
        epochs=1,
        batch_size=4,
        save_dir=tmp_path / "py runs #1: a",  # which means something in YAML
        overrides=["num_classes=2", "width_mult=0.125", "worker_num=0", "use_gpu=false", *places],
    )
    assert run.folder == tmp_path / "py runs #1: a" / "ppyolov2_r18vd_dcn_demo"
    assert run.log.is_file() and 0 <= run.best_ap <= 1 and "bbox/AP" in run.metrics
    assert callable(ppdet_lite.train)  # the room of this name has been imported
    detector = ppdet_lite.Detector(run.weights)
    assert detector.class_names == ["square", "circle"]
    assert len(detector.predict(tiny_coco / "images")) == 12
    assert load_config(run.config).weights == str(run.weights)
    assert edited.with_suffix(".old.yml").read_text() == "# of an earlier run\n"
    renamed = run.folder.rename(tmp_path / "renamed")
    detector = ppdet_lite.Detector(renamed)
    assert detector.class_names == ["square", "circle"]
    for file in (*renamed.glob("best_model.*"), *renamed.glob("model_final.*")):
        file.unlink()
    with pytest.raises(CheckpointError, match="renamed: found neither best_model nor"):
        ppdet_lite.Detector(renamed)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"overrides": "epoch=3"}, "`overrides`: found 'epoch=3', allowed: a list"),
        ({"data_format": "coco"}, "`data_format`: found coco, allowed: none without `data`"),
        ({"data": ""}, "`data`: found ''"),
        ({"epochs": "2: 3"}, "epoch: found '2: 3'"),
    ],
)
def test_arguments_of_a_training_are_checked(small_config, arguments, text):
    with pytest.raises(UserError, match=text):
        ppdet_lite.train(small_config, **arguments)


def test_importing_the_package_is_light():
    code = (
        "import sys, time; start = time.perf_counter(); import ppdet_lite; "
        "print(time.perf_counter() - start < 0.2, "
        "{'paddle', 'numpy', 'cv2', 'yaml'} & set(sys.modules), 'Detector' in dir(ppdet_lite))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "True set() True", done.stderr
    code = (
        "import sys, time; start = time.perf_counter(); import numpy; "
        "between = time.perf_counter(); from ppdet_lite import Detector, train; "
        "print(time.perf_counter() - between < between - start, "
        "{'paddle', 'cv2', 'yaml', 'tqdm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "True set()", done.stderr  # less than numpy alone takes
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ppdet_lite.nothing  # noqa: B018
