"""`ppdet config`: what it writes is the shipped configuration until it is changed."""

import pytest

from ppdet_lite.api.starting_point import starting_point
from ppdet_lite.commands import config as command
from ppdet_lite.core.dump import dump_yaml
from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.core.yaml import Tagged, parse_yaml

NAMES = ["ppyolov2_r50vd_dcn_365e_coco", "yolox_s_300e_coco", "yolov3_mobilenet_v1_roadsign"]


@pytest.mark.parametrize("name", [*NAMES, "yolov4_cspdarknet53_demo"])
def test_it_changes_nothing_but_the_place_of_the_weights(name, tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text(starting_point(name, str(path)))
    mine, own = (load_config(each, validate=False) for each in (path, name))
    assert mine.pop("weights") == f"{own.settings.save_dir}/mine/best_model"
    own.pop("weights")
    own.setdefault("pretrain_weights", None)
    assert mine == own


def test_what_users_change_stands_in_it():
    text = starting_point(NAMES[0])
    lines = text.splitlines()
    for line in (f"_BASE_: {NAMES[0]}", "num_classes: 80", "epoch: 365", "  batch_size: 12"):
        assert line in lines
    for line in ("  dataset_dir: dataset/coco", "  base_lr: 0.005", "      milestones: [243]"):
        assert line in lines
    assert max(map(len, lines)) <= 110 and text.count("#") > 15


def test_a_file_of_ones_own_can_be_the_base(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yml").write_text(f"_BASE_: {NAMES[0]}\nnum_classes: 3\n")
    args = command.build_parser().parse_args(["mine.yml", "--output", "next.yml"])
    command.main(args)
    assert load_config("next.yml", validate=False).num_classes == 3
    assert "output/next/best_model" in (tmp_path / "next.yml").read_text()
    with pytest.raises(UserError, match="`output` next.yml: exists already"):
        command.main(args)
    with pytest.raises(ConfigError, match="no such config file: nowhere"):
        command.main(command.build_parser().parse_args(["nowhere"]))


def test_dumped_values_are_read_back():
    values = {
        "a": [1, 1e-5, 0.1, None, True, "on", "1e3", "2020-01-01", "ä: b", ""],
        "b": [Tagged("Decay", {"gamma": 0.1, "milestones": [1, 2]}), Tagged("Empty")],
        "c": {"d": {}, "e": [], "f": [[1, 2], [3]], "g": [{"h": None}]},
    }
    again = parse_yaml(dump_yaml(values), "text").value
    assert again == values and list(again) == ["a", "b", "c"]
    assert [type(value) for value in again["a"]] == [type(value) for value in values["a"]]
