"""The configuration for a folder: what is set, what stays, and that the saved file trains."""

import pytest

from ppdet_lite.commands import train
from ppdet_lite.core.difference import changes_between
from ppdet_lite.core.errors import UserError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.core.yaml import Tagged
from ppdet_lite.train.own_data.run_config import config_for_folder
from tests.data.folder import layouts

YOLO, ONE_SPLIT = layouts.yolo_ultralytics, layouts.voc_labelimg


@pytest.fixture
def folder(tmp_path):
    """Function from a layout to a folder of it."""

    def make(layout):
        layout(tmp_path / "my pets")
        return str(tmp_path / "my pets")

    return make


def test_the_saved_file_is_the_configuration(config, folder):
    own = config_for_folder(config(), folder(YOLO))
    assert own.path == config.folder.parent / "tiny_my_pets" / "tiny_my_pets.yml"
    saved = load_config(own.path)
    assert changes_between(own.config, saved) == changes_between(saved, own.config) == {}
    assert own.config.name == saved.name == "tiny_my_pets"
    assert saved.TrainDataset["label_list"] == saved.EvalDataset["label_list"] == layouts.NAMES
    assert saved.num_classes == 2 and saved.metric == "COCO"
    assert saved.weights == str(own.path.parent / "best_model")
    assert saved.TrainReader["batch_size"] == 1  # at least 4 steps an epoch
    assert (saved.epoch, saved.snapshot_epoch) == (2, 1)  # those of the recipe: it is shorter
    assert saved.TestDataset["anno_path"] is None
    text = own.path.read_text()
    assert text == own.text and "classes: cat, dog" in text and "train 3, val 2" in text


def test_a_split_is_made_where_there_is_none(config, folder):
    own = config_for_folder(config(), folder(ONE_SPLIT), save=False)
    assert not own.path.exists()
    train, val = (create(key, own.config) for key in ("TrainDataset", "EvalDataset"))
    assert (len(train), len(val)) == (4, 1)
    assert any("val: 20% of the training images, about 1" in line for line in own.lines)


def test_what_is_given_stays(config, folder):
    given = ["TrainReader.batch_size=2", "epoch=40", "LearningRate.schedulers.0.milestones=[3]"]
    given += ["TrainDataset.sample_num=2", "num_classes=5"]
    own = config_for_folder(config(*given), folder(YOLO)).config
    assert own.TrainReader["batch_size"] == 2 and own.epoch == 40 and own.num_classes == 5
    assert own.LearningRate["schedulers"][0]["milestones"] == [3]
    assert own.TrainDataset["sample_num"] == 2 and own.TrainDataset["name"] == "YOLODataSet"
    assert own.snapshot_epoch == 4
    schedule = config_for_folder(config("epoch=40"), folder(YOLO)).config.LearningRate["schedulers"]
    assert schedule[1] == Tagged("LinearWarmup", {"start_factor": 0.0, "steps": 1})


def test_edited_files_are_kept_each_under_its_own_name(config, folder):
    cfg = config("TrainReader.batch_size=1")  # no line about free memory, which changes
    place, kept = folder(YOLO), []
    for edit in ("epoch: 7", "epoch: 8", "epoch: 9"):
        own = config_for_folder(cfg, place)
        kept += own.remarks
        own.path.write_text(f"{own.text}{edit}\n")
    config_for_folder(cfg, place)
    names = [f"tiny_my_pets.old{n}.yml" for n in ("", 2, 3)]
    texts = [own.path.with_name(name).read_text() for name in names]
    assert texts == [f"{own.text}epoch: {n}\n" for n in (7, 8, 9)]
    assert len(kept) == 2 and kept[1].endswith("tiny_my_pets.old2.yml") and kept[1] in own.report()


def test_another_folder_of_the_same_name_gets_another_run(config, tmp_path):
    runs = []
    for place in ("a/yölo set", "b/yölo set", "b/yölo set", "c/yo\u0308lo set"):
        if not (tmp_path / place).exists():
            YOLO(tmp_path / place)
        runs.append(config_for_folder(config(), str(tmp_path / place)))
    names = ["tiny_yölo_set", "tiny_yölo_set_2", "tiny_yölo_set_2", "tiny_yölo_set_3"]
    assert [own.path.parent.name for own in runs] == [own.path.stem for own in runs] == names
    assert [own.config.weights for own in runs] == [str(o.path.parent / "best_model") for o in runs]
    last = config_for_folder(config(), str(tmp_path / place), save=False, evaluate=False).config
    assert last.weights == str(runs[3].path.parent / "model_final")
    assert not runs[0].remarks and "belongs to a training on other data" in runs[1].report()
    runs[0].path.write_text("epoch: [\n")  # an edit that is no YAML: left alone
    assert config_for_folder(config(), str(tmp_path / "a/yölo set")).path.stem == "tiny_yölo_set_4"


def test_no_box_is_found_before_anything_is_written(config, tmp_path):
    YOLO(tmp_path / "pets")
    for file in (tmp_path / "pets").rglob("labels/**/*.txt"):
        file.write_text("")
    with pytest.raises(UserError, match="pets: found no box in the training images"):
        config_for_folder(config(), str(tmp_path / "pets"))
    assert not config.folder.parent.exists()


@pytest.mark.parametrize(
    "options, text",
    [
        (["--data", ""], "`data`: found ''"),
        (["--data_format", "coco"], "`data_format`: found coco"),
    ],
)
def test_options_that_would_be_ignored(config, options, text):
    with pytest.raises(UserError, match=text):
        train.main(train.build_parser().parse_args(["-c", str(config.path), *options]))


def test_no_training_data(config, folder, tmp_path):
    place = folder(layouts.voc_roboflow)
    (tmp_path / "my pets" / "train").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="my pets: no training data, found val only"):
        config_for_folder(config(), place)


def test_the_command_trains_and_saves_what_it_used(config, folder, capsys):
    options = ["-c", config.path, "--data", folder(YOLO), "-o", *config.small[:2], "epoch=1"]
    train.main(train.build_parser().parse_args([*map(str, options)]))
    run = config.folder.parent / "tiny_my_pets"
    assert (run / "model_final.pdparams").is_file() and (run / "best_model.pdparams").is_file()
    printed = capsys.readouterr().out
    assert f"saved as {run / 'tiny_my_pets.yml'}" in printed and "num_classes: 2" in printed
    options = [*options, "-r", "auto"]
    with pytest.raises(UserError, match="`resume` .* -c output/NAME/NAME.yml"):
        train.main(train.build_parser().parse_args([*map(str, options)]))
