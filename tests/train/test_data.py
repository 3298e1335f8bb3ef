"""The data of a training is checked before the first step."""

import json
import shutil

import pytest

from ppdet_lite.core.errors import ConfigError, DataError, ImageError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.transforms.transform import Transform
from ppdet_lite.train.run import run_training
from ppdet_lite.weights.checkpoint import read_meta


def test_wrong_data_is_found_before_the_first_step(config, tiny_coco, tmp_path):
    with pytest.raises(DataError, match="has 2 classes .square, circle. but num_classes is 5"):
        run_training(config("num_classes=5"))
    with pytest.raises(DataError, match="8 training images make no batch of 16.*drop_last: false"):
        run_training(config("TrainReader.batch_size=16"))
    with pytest.raises(ConfigError, match="8 images.*TrainReader.batch_size=4.*accumulate_steps=3"):
        run_training(config("accumulate_steps=3"))
    with pytest.raises(ConfigError, match="EvalDataset: missing.*`evaluate`"):
        run_training(config("EvalDataset=null"), evaluate=True)
    size = "TrainReader.batch_transforms.BatchRandomResize.target_size"
    with pytest.raises(ConfigError, match=f"{size}: found 40 x 40 .*multiples of 32.*32 x 32"):
        run_training(config(f"{size}=[32,40]"))
    size = "EvalReader.sample_transforms.Resize.target_size"
    with pytest.raises(ConfigError, match=f"{size}: found 64 x 50 .*for instance 64 x 64"):
        run_training(config(f"{size}=[64,50]"), evaluate=True)
    content = json.loads((tiny_coco / "annotations" / "val.json").read_text())
    content["categories"].reverse()
    (tmp_path / "swapped.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="another order: class 0 is 'square' in one and 'circle'"):
        run_training(config(f"EvalDataset.anno_path={tmp_path / 'swapped.json'}"), evaluate=True)
    assert "class 0 is 'square'" in (config.folder / "train.log").read_text()
    assert not list(config.folder.glob("*.pdparams"))


def test_unreadable_images_are_found_before_the_first_step(config, tiny_coco, tmp_path):
    shutil.copytree(tiny_coco, tmp_path / "data")
    (tmp_path / "data" / "images" / "train_1.jpg").unlink()
    folder = f"TrainDataset.dataset_dir={tmp_path / 'data'}"
    with pytest.raises(DataError, match="1 of 8 images cannot be read.*\n.*train_1.jpg"):
        run_training(config(folder))
    run_training(config(folder, "epoch=1", "TrainReader.max_bad_fraction=0.2"))
    log = (config.folder / "train.log").read_text()
    assert "1 of 8 images cannot be read" in log and "skipped: " in log
    (tmp_path / "data" / "images" / "val_2.jpg").write_bytes(b"")
    folder = f"EvalDataset.dataset_dir={tmp_path / 'data'}"
    with pytest.raises(DataError, match="val.json: 1 of 4 images .*\n.*val_2.jpg: the file is e"):
        run_training(config(folder), evaluate=True)
    run_training(config(folder, "epoch=1", "EvalReader.max_bad_fraction=0.3"), evaluate=True)
    log = (config.folder / "train.log").read_text()
    assert "val.json: 1 of 4 images cannot be read and are left out" in log
    assert "evaluated 3 images" in log


@register
class TurnsOutDamaged(Transform):
    """Cannot read one image of the evaluation."""

    keeps_size = True

    def apply(self, sample, context):
        if str(sample["im_file"]).endswith("val_2.jpg"):
            raise ImageError("val_2.jpg: damaged in the middle")
        return sample


def test_an_image_that_turns_out_damaged_does_not_end_the_run(config):
    """Its header is fine, so only the evaluation finds it."""
    cfg = config("snapshot_epoch=1")
    cfg.EvalReader["sample_transforms"].insert(1, {"TurnsOutDamaged": {}})
    state = run_training(cfg, evaluate=True)
    assert state.epoch == 2 and state.last_evaluation is None
    log = (config.folder / "train.log").read_text()
    assert log.count("goes on without this evaluation: val_2.jpg: damaged") == 2
    assert read_meta(str(config.folder / "model_final"))["iteration"] == 4


ANNOTATION = {"id": 1, "image_id": 1, "category_id": 3, "area": 4, "iscrowd": 0}


@pytest.mark.parametrize("allow_empty", ["true", "false"])
@pytest.mark.parametrize(
    "box, crowd, reason",
    [
        ([5, 5, 20, 20], 1, "crowd"),
        ([500, 5, 20, 20], 0, "outside"),
        ([0.2, 0.3, 0.4, 0.4], 0, "pixel"),
        ([0, 0, 1, 1], 0, "pixel"),
        (None, 0, "empty"),
    ],
)
def test_data_without_one_object_is_refused(
    config, tiny_coco, tmp_path, box, crowd, reason, allow_empty
):
    content = json.loads((tiny_coco / "annotations" / "train.json").read_text())
    facts = {"bbox": box, "iscrowd": crowd}
    content["annotations"] = [{**ANNOTATION, **facts}] if box else []
    path = tmp_path / "nothing.json"
    path.write_text(json.dumps(content))
    overrides = [f"TrainDataset.anno_path={path}", f"TrainDataset.allow_empty={allow_empty}"]
    with pytest.raises(DataError, match=f"nothing.json: (.|\n)*{reason}"):
        run_training(config(*overrides))
    assert not list(config.folder.glob("*.pdparams"))


def test_a_class_name_that_no_file_can_hold_is_refused(config, tiny_coco, tmp_path):
    content = json.loads((tiny_coco / "annotations" / "train.json").read_text())
    content["categories"][1]["name"] = "circle\udcff"
    path = tmp_path / "names.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"names.json: class name 'circle.udcff' cannot be written"):
        run_training(config(f"TrainDataset.anno_path={path}"))


@pytest.mark.parametrize("worker_num", [0, 3])
def test_a_single_image_and_more_workers_than_batches(config, worker_num):
    options = ["TrainDataset.sample_num=1", "TrainReader.batch_size=1", "epoch=1"]
    assert run_training(config(*options, f"worker_num={worker_num}")).iteration == 1
