"""COCO results of an exported model name the categories that an evaluation names."""

import json

import pytest
import yaml

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
from ppdet_lite.evaluate.category_ids import resolve_category_ids
from ppdet_lite.evaluate.predictor import run_inference
from ppdet_lite.export.options import export_options
from ppdet_lite.export.run import describe_export

NAMES = ["square", "circle"]


@pytest.fixture
def config(small_config):
    """config(overrides...): of a data set whose categories are 3 and 7."""
    return lambda *overrides: load_config(small_config, list(overrides))


@pytest.fixture
def stored(tmp_path):
    """stored(meta): weights with this side file."""

    def write(meta):
        (tmp_path / "best_model.meta.json").write_text(json.dumps(meta))
        return str(tmp_path / "best_model.pdparams")

    return write


def only(section, anno_path):
    """Overrides that leave one data set."""
    others = {"TrainDataset", "EvalDataset", "TestDataset"} - {section}
    return [f"{section}.anno_path={anno_path}", *(f"{other}=null" for other in sorted(others))]


def test_those_of_the_weights_come_first(config, stored):
    weights = stored({"class_names": NAMES, "category_ids": [11, 12]})
    assert resolve_category_ids(config(), weights, NAMES) == [11, 12]
    assert resolve_category_ids(config(), stored({"class_names": NAMES}), NAMES) == [3, 7]


@pytest.mark.parametrize("ids", [[1], [1, 2.5], ["1", "2"], [True, False], {"0": 1}])
def test_unusable_ids_beside_the_weights(config, stored, ids):
    with pytest.raises(CheckpointError) as caught:
        resolve_category_ids(config(), stored({"category_ids": ids}), NAMES)
    assert f"best_model.meta.json: category_ids: found {ids!r}, allowed: 2 whole" in str(
        caught.value
    )


@pytest.mark.parametrize("section", ["EvalDataset", "TestDataset", "TrainDataset"])
def test_annotations_of_the_same_classes(config, tiny_coco, section):
    kind = "ImageFolder" if section == "TestDataset" else "COCODataSet"
    place = [f"{section}.name={kind}", f"{section}.dataset_dir={tiny_coco}"]
    cfg = config(*only(section, "annotations/train.json"), *place)
    assert resolve_category_ids(cfg, None, NAMES) == [3, 7]
    assert resolve_category_ids(cfg, None, NAMES[::-1]) is None
    cfg = config(*only(section, "gone.json"), *place)
    assert resolve_category_ids(cfg, None, NAMES) is None


def test_classes_of_coco_have_its_numbers(config):
    names = list(COCO_CATEGORIES.values())
    ids = resolve_category_ids(config(), None, names)
    assert (ids[0], ids[11], ids[-1], len(ids)) == (1, 13, 90, 80)
    assert resolve_category_ids(config(), None, names[::-1]) is None


def test_classes_of_voc_and_of_label_lists_have_none(config, stored, tmp_path):
    (tmp_path / "labels.txt").write_text("square\ncircle\n")
    weights = stored({"class_names": NAMES, "category_ids": [1, 2]})
    assert resolve_category_ids(config("metric=VOC"), weights, NAMES) is None
    cfg = config(*only("TestDataset", tmp_path / "labels.txt"))
    assert resolve_category_ids(cfg, None, NAMES) is None


def test_damaged_annotations_are_no_obstacle(config, tmp_path, capsys):
    (tmp_path / "val.json").write_text("{")
    cfg = config(f"EvalDataset.anno_path={tmp_path / 'val.json'}")
    assert resolve_category_ids(cfg, None, NAMES) == [3, 7]  # of TestDataset
    said = capsys.readouterr().err
    assert f"category_ids: EvalDataset could tell them, but {tmp_path / 'val.json'}" in said


def described(cfg, weights):
    model = create(cfg.architecture, cfg)
    steps = create("TestReader", cfg).preprocess_config()
    text = yaml.safe_dump(describe_export(cfg, model, steps, weights, export_options(cfg)))
    return yaml.safe_load(text)


def test_an_export_says_them_where_they_are_known(config, stored):
    weights = stored({"class_names": NAMES})
    assert described(config(), weights)["category_ids"] == [3, 7]
    assert "category_ids" not in described(config("metric=VOC"), weights)


def test_tools_infer_writes_them(config, tiny_coco, tmp_path):
    image = str(tiny_coco / "images" / "val_0.jpg")
    run_inference(config(), infer_img=[image], output_dir=tmp_path, save_results=True)
    entries = json.loads((tmp_path / "bbox.json").read_text())
    assert {entry["category_id"] for entry in entries} == {3, 7}
