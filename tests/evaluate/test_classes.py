"""The classes of a model: names, categories of COCO, and data that has other ones."""

import json
from types import SimpleNamespace

import pytest

from ppdet_lite.core.errors import CheckpointError, ConfigError, DataError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
from ppdet_lite.evaluate.classes import (
    check_class_count,
    check_class_order,
    check_classes_of_weights,
    classes_of_model,
)
from ppdet_lite.evaluate.predictor import run_inference
from ppdet_lite.export.options import ExportOptions
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


def ids(cfg, weights=None):
    return classes_of_model(cfg, weights).category_ids


# ----------------------------------------------------------------------------------------- names
def test_names_of_the_weights_come_first(config):
    cfg = config("TestDataset.anno_path=annotations/gone.json")
    assert classes_of_model(cfg, cfg.weights).names == NAMES


def test_names_of_the_test_dataset_come_next(config):
    assert classes_of_model(config()).names == NAMES


def test_without_names_the_classes_are_numbered(config, capsys):
    for override in ("TestDataset.anno_path=gone.json", "TestDataset=null"):
        assert classes_of_model(config(override)).names == ["class 0", "class 1"]
        assert "TestDataset.anno_path" in capsys.readouterr().err


def test_names_that_do_not_fit_num_classes_are_refused(config):
    cfg = config("num_classes=3")
    with pytest.raises(ConfigError, match=r"num_classes: found 3.*2 classes \(square, circle\)"):
        classes_of_model(cfg, cfg.weights)


# ------------------------------------------------------------------------------------ categories
def test_categories_of_the_weights_come_first(config, stored):
    assert ids(config(), stored({"class_names": NAMES, "category_ids": [11, 12]})) == [11, 12]
    assert ids(config(), stored({"class_names": NAMES})) == [3, 7]


@pytest.mark.parametrize("wrong", [[1], [1, 2.5], ["1", "2"], [True, False], {"0": 1}])
def test_unusable_categories_beside_the_weights(config, stored, wrong):
    weights = stored({"class_names": NAMES, "category_ids": wrong})
    with pytest.raises(CheckpointError, match="best_model.meta.json: category_ids: found") as error:
        ids(config(), weights)
    assert repr(wrong) in str(error.value)


@pytest.mark.parametrize("section", ["EvalDataset", "TestDataset", "TrainDataset"])
def test_annotations_of_the_same_classes(config, stored, tiny_coco, section):
    kind = "ImageFolder" if section == "TestDataset" else "COCODataSet"
    place = [f"{section}.name={kind}", f"{section}.dataset_dir={tiny_coco}"]
    cfg = config(*only(section, "annotations/train.json"), *place)
    weights = stored({"class_names": NAMES})
    assert ids(cfg, weights) == [3, 7]
    cfg = config(*only(section, "gone.json"), *place)
    assert ids(cfg, weights) is None
    cfg = config(*only(section, "annotations/train.json"), *place)
    assert ids(cfg, stored({"class_names": NAMES[::-1]})) is None


def test_classes_of_coco_have_its_numbers(config, stored):
    names = list(COCO_CATEGORIES.values())
    found = ids(config("num_classes=80"), stored({"class_names": names}))
    assert (found[0], found[11], found[-1], len(found)) == (1, 13, 90, 80)
    assert ids(config("num_classes=80"), stored({"class_names": names[::-1]})) is None


def test_classes_of_voc_and_of_label_lists_have_none(config, stored, tmp_path):
    (tmp_path / "labels.txt").write_text("square\ncircle\n")
    weights = stored({"class_names": NAMES, "category_ids": [1, 2]})
    assert ids(config("metric=VOC"), weights) is None
    assert classes_of_model(config(*only("TestDataset", tmp_path / "labels.txt"))) == (NAMES, None)


def test_damaged_annotations_are_no_obstacle(config, tmp_path, capsys):
    (tmp_path / "val.json").write_text("{")
    assert ids(config(f"EvalDataset.anno_path={tmp_path / 'val.json'}")) == [3, 7]  # TestDataset's
    said = capsys.readouterr().err
    assert "category_ids: EvalDataset" in said and str(tmp_path / "val.json") in said


def described(cfg, weights):
    model = create(cfg.architecture, cfg)
    options = ExportOptions().for_config(cfg)
    return describe_export(cfg, model, weights, options).content()


def test_an_export_says_them_where_they_are_known(config, stored):
    weights = stored({"class_names": NAMES})
    assert described(config(), weights)["category_ids"] == [3, 7]
    assert "category_ids" not in described(config("metric=VOC"), weights)


def test_an_export_has_the_thresholds_of_its_weights(config, stored):
    cfg = config()
    assert "thresholds" not in described(cfg, stored({"class_names": NAMES}))
    weights = stored({"class_names": NAMES, "thresholds": [0.25, 0.5]})
    assert described(cfg, weights)["thresholds"] == [0.25, 0.5]
    for wrong in ([0.5], [0.5, 2], "auto", [True, 0.5]):
        with pytest.raises(CheckpointError, match="meta.json: thresholds: found"):
            described(cfg, stored({"class_names": NAMES, "thresholds": wrong}))


def test_tools_infer_writes_them(config, tiny_coco, tmp_path):
    image = str(tiny_coco / "images" / "val_0.jpg")
    run_inference(config(), infer_img=[image], output_dir=tmp_path, save_results=True)
    entries = json.loads((tmp_path / "bbox.json").read_text())
    assert {entry["category_id"] for entry in entries} == {3, 7}


# ------------------------------------------------------------------------------- data that differs
def data(*class_names, name="val.json"):
    return SimpleNamespace(class_names=list(class_names), name=name)


def test_number_of_classes(config):
    check_class_count(config("num_classes=2"), data("a", "b"))
    with pytest.raises(DataError, match="val.json has 3 classes.*num_classes is 80") as error:
        check_class_count(config("num_classes=80"), data("cat", "dog", "owl"))
    assert "num_classes=3" in str(error.value)


def test_class_order():
    check_class_order("train.json", ["a", "b"], data("a", "b"))
    with pytest.raises(DataError, match="another order: class 1 is 'b' in one and 'c' in the"):
        check_class_order("train.json", ["a", "b", "c"], data("a", "c", "b"))
    with pytest.raises(DataError, match="train.json and val.json have different classes: only in "):
        check_class_order("train.json", ["a", "b"], data("a", "c"))


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["circle", "square"], "class 0 is 'square' in one and 'circle' in the other"),
        (["square", "disk"], "only in the first: circle; only in the second: disk"),
        (["square"], "num_classes"),
    ],
)
def test_evaluation_data_must_list_the_classes_of_the_weights(config, names, problem):
    cfg = config()
    check_classes_of_weights(cfg, cfg.weights, data(*NAMES))
    with pytest.raises(DataError, match=problem):
        check_classes_of_weights(cfg, cfg.weights, data(*names))


def test_weights_without_names_are_not_checked_by_name(config, tmp_path):
    check_classes_of_weights(config(), str(tmp_path / "other"), data("circle", "square"))
