"""`ppdet models`: its table is that of the shipped configurations."""

import json

import pytest

from ppdet_lite.api.models import list_models, network_digest, read_table, reported_ap
from ppdet_lite.benchmark.model_info import measure
from ppdet_lite.commands import models as command
from ppdet_lite.core.errors import UserError
from ppdet_lite.core.shipped import shipped_configs
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.options import input_size
from ppdet_lite.modeling.build_detector import build_detector

NAME = "ppyolov2_r50vd_dcn_365e_coco"


def test_the_table_has_every_network_as_it_is_now():
    rows, stale = read_table(), []
    assert list(rows) == list(shipped_configs())
    for name in shipped_configs():
        if network_digest(load_config(name, validate=False)) != rows[name]["network"]:
            stale.append(name)
    assert stale == [], "run: python tools/dev/write_models.py"


@pytest.mark.parametrize("name", ["yolox_nano_300e_coco", "ppyolo_mbv3_small_coco"])
def test_the_table_is_what_is_measured(name):
    cfg, row = load_config(name), read_table()[name]
    height, width = input_size(cfg)
    total = measure(build_detector(cfg), height, width).total
    assert (int(row["height"]), int(row["width"])) == (height, width)
    assert (int(row["params"]), int(row["multiply_adds"])) == (total.values, total.multiply_adds)


@pytest.mark.parametrize(
    "name, expected",
    [
        (NAME, (49.1, "AP", "val2017")),
        ("ppyolov2_r101vd_dcn_365e_coco", (50.3, "AP", "test-dev")),
        ("yolov4_tiny_coco", (40.2, "AP50", "test-dev")),
        ("ppyolo_r50vd_dcn_voc", (84.9, "AP50", "VOC2007")),
        ("yolov3_asff_star_coco", (42.4, "AP", "test-dev")),
        ("ppyolov2_ablation_b", (47.1, "AP", "val2017")),
        ("ppyolov2_freeze_coco", None),
        ("ppyolov2_r50vd_dcn_voc", None),
        ("ppyolov2_r18vd_dcn_demo", None),
    ],
)
def test_reported_ap_is_that_of_the_head(name, expected):
    found = reported_ap(shipped_configs()[name], 608)
    assert found == expected or (found.value, found.metric, found.data) == expected


def run(capsys, *options):
    command.main(command.build_parser().parse_args(options))
    return capsys.readouterr().out


def test_the_table_in_the_terminal(capsys):
    lines = run(capsys, "ppyolo/ppyolov2_r50vd", "365e").splitlines()
    assert lines[0].split() == "name input params M GFLOPs AP on weights".split()
    (line,) = lines[1:]
    assert line.split()[:2] == [NAME, "640"] and line.split()[-3:] == ["49.1", "val2017", "yes"]


def test_filters_sorting_and_json(capsys, tmp_path):
    options = ["yolox/", "--max-params", "10", "--min-ap", "25", "--sort", "ap", "--json"]
    found = json.loads(run(capsys, *options))
    values = [model["reported"]["value"] for model in found]
    assert len(found) > 3 and values == sorted(values, reverse=True) and min(values) >= 25
    assert all(m["params"] <= 10e6 and m["name"].startswith("yolox") for m in found)
    run(capsys, "--weights", "--max-gflops", "2", "--json", str(tmp_path / "models.json"))
    small = json.loads((tmp_path / "models.json").read_text())
    assert "ppyolo_tiny_650e_coco" in {model["name"] for model in small}
    assert all(model["weights"] and model["multiply_adds"] <= 2e9 for model in small)
    with pytest.raises(UserError, match="no shipped model"):
        run(capsys, "nothing-like-it")


def test_digest_follows_the_network_only():
    own = network_digest(load_config(NAME, validate=False))
    for change, is_same in (
        ("epoch=3", True),
        ("num_classes=3", False),
        ("ResNet.depth=18", False),
    ):
        assert (network_digest(load_config(NAME, [change], validate=False)) == own) == is_same


def test_every_entry_is_whole():
    models = list_models()
    assert {model.family for model in models} >= {"ppyolo", "yolox/upstream", "yolov4"}
    assert all(model.params > 0 and model.multiply_adds > 0 for model in models)
