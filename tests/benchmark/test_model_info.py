"""Counts of small networks by hand, and of the shipped ones against the tables of their papers."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
from paddle import nn

from ppdet_lite.benchmark.model_info import Cost, measure
from ppdet_lite.benchmark.model_report import as_dict, run_model_info, summary, table
from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.core.shipped import shipped_configs
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2
from ppdet_lite.modeling.layers.norm import batch_norm

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIDE = 64  # small input of the large networks; their work grows exactly with its area


class Network(nn.Layer):
    """What `measure` runs: the layers in order on an image."""

    def __init__(self, *layers):
        super().__init__()
        self.part = nn.Sequential(*layers)

    def raw_outputs(self, image) -> list:
        return [self.part(image)]


@pytest.mark.parametrize(
    "layer, expected",
    [
        (nn.Conv2D(3, 8, 3, padding=1), Cost(3 * 8 * 9 + 8, 224, 8 * 6 * 3 * 8 * 9)),
        (nn.Conv2D(3, 8, 3, stride=2, padding=1), Cost(224, 224, 4 * 3 * 3 * 8 * 9)),
        (nn.Conv2D(3, 8, 1, bias_attr=False), Cost(24, 24, 8 * 6 * 24)),
        (nn.Conv2D(3, 9, 5, padding=2, groups=3), Cost(9 * 25 + 9, 234, 8 * 6 * 9 * 25)),
        (nn.Conv2DTranspose(3, 5, 2, stride=2), Cost(3 * 5 * 4 + 5, 65, 8 * 6 * 3 * 5 * 4)),
        (nn.Linear(6, 4), Cost(6 * 4 + 4, 28, 3 * 8 * 6 * 4)),
        (nn.BatchNorm2D(3), Cost(12, 6, norm=3 * 8 * 6)),
        (batch_norm(3, freeze_norm=True), Cost(12, 0, norm=3 * 8 * 6)),
    ],
)
def test_one_layer_by_hand(layer, expected):
    info = measure(Network(layer), 8, 6)
    assert info.layers == {"part.0": expected}
    assert info.total == expected
    assert info.uncounted == []


def test_deformable_convolution_by_hand():
    info = measure(Network(DeformableConvV2(3, 4, 3, stride=2)), 8, 6)
    cells = 4 * 3
    offsets = 3 * 27 * 9  # 18 offsets and 9 masks
    product = 3 * 4 * 9
    assert info.layers == {
        "part.0.conv_offset": Cost(offsets + 27, offsets + 27, cells * offsets),
        "part.0.conv": Cost(
            product,
            product,
            cells * product,
            deformable=cells * product,
            sampling=cells * 9 * 3 * 5,
        ),
    }
    assert info.outputs["part.0.conv"] == [(4, 4, 3)]
    assert info.uncounted == []


def test_a_layer_that_runs_twice_holds_its_weights_once():
    shared = nn.Conv2D(3, 3, 1, bias_attr=False)
    info = measure(Network(shared, nn.ReLU(), shared), 8, 6)
    assert info.total == Cost(9, 9, 2 * 8 * 6 * 9)


class Projection(nn.Layer):
    def __init__(self):
        super().__init__()
        self.weight = self.create_parameter([6, 2])
        self.unused = nn.Linear(5, 5)

    def forward(self, x):
        return x @ self.weight


def test_unknown_work_is_named():
    info = measure(Network(nn.Conv2D(3, 2, 1), Projection()), 8, 6)
    assert info.uncounted == ["part.1 (Projection)", "part.1.unused (Linear)"]
    assert info.total.values == 8 + 12 + 30
    assert "         not known, so not in it: part.1 (Projection), part.1.unused (Linear)" in (
        summary(info)
    )


def test_the_model_stays_as_it_was():
    model = Network(nn.Conv2D(3, 4, 1), nn.BatchNorm2D(4))
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    model.part[1].eval()
    measure(model, 8, 6)
    assert model.training and model.part[0].training and not model.part[1].training
    assert all(not layer._forward_post_hooks for layer in model.sublayers())
    assert all((before[key] == value.numpy()).all() for key, value in model.state_dict().items())


def test_hooks_are_removed_when_the_network_refuses_the_input():
    model = Network(nn.Conv2D(4, 4, 1))
    with pytest.raises(ValueError):
        measure(model, 8, 6)
    assert all(not layer._forward_post_hooks for layer in model.sublayers())


def test_rows_add_up_to_the_total_at_every_depth():
    info = network("ppyolo/ppyolo_tiny_650e_coco")
    for depth in (1, 2, 3, None):
        assert sum((row.cost for row in info.rows(depth)), Cost()) == info.total
    assert [row.name for row in info.rows()] == ["backbone", "neck", "yolo_head"]
    assert info.rows()[1].kind == "PPYOLOTinyFPN"
    assert info.rows()[1].outputs == [(160, 2, 2), (128, 4, 4), (96, 8, 8)]
    model_rows = [row.name for row in info.rows(None)]
    assert "backbone.conv1.conv" in model_rows and "yolo_head.yolo_output.2" in model_rows
    assert info.uncounted == []


def test_rows_of_layers_whose_names_have_dots():
    """`layers1.stage1.conv_layer` of CSPDarkNet is one layer: no layer is called `layers1`."""
    info = network("yolox/yolox_nano_300e_coco")
    for depth in range(1, 9):
        assert sum((row.cost for row in info.rows(depth)), Cost()) == info.total
    rows = {row.name: row for row in info.rows(2)}
    assert (rows["backbone.layers1"].kind, rows["backbone.layers1"].outputs) == ("", [])
    assert {row.name for row in info.rows(4)} >= {"backbone.layers1.stage1.conv_layer"}
    assert table(info, depth=2, sort=True)


def test_work_grows_with_the_area():
    """What lets the tests below run on small inputs."""
    cfg = load_config(CONFIGS / "ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml", ["width_mult=0.125"])
    model = create(cfg.architecture, cfg)
    small, large = measure(model, 64, 64).total, measure(model, 96, 128).total
    assert (large.values, large.trainable) == (small.values, small.trainable)
    for name in ("multiply_adds", "deformable", "norm", "sampling"):
        assert getattr(large, name) == 3 * getattr(small, name) > 0


@cache
def network(name: str):
    """The cost of a shipped network on an input of SIDE x SIDE."""
    cfg = load_config(CONFIGS / f"{name}.yml")
    return measure(create(cfg.architecture, cfg), SIDE, SIDE)


def at_size(name: str, side: int) -> Cost:
    """The same on another input, exactly: see `test_work_grows_with_the_area`."""
    cost = network(name).total
    areas = {key: value * side**2 / SIDE**2 for key, value in vars(cost).items()}
    return Cost(**{**areas, "values": cost.values, "trainable": cost.trainable})


# Binary and decimal units of millions of values and of billions of multiply-adds.
BINARY, DECIMAL = (2**20, 2**30), (10**6, 10**9)


@pytest.mark.parametrize(
    "name, side, params, gflops, units",
    [
        # PP-YOLO paper: YOLOv3-DarkNet53, and with ResNet50-vd-DCN (its GFLOPs are not at hand).
        ("yolov3/yolov3_darknet53_270e_coco", 608, 59.13, 65.52, BINARY),
        ("yolov3/yolov3_r50vd_dcn_270e_coco", 608, 43.89, None, BINARY),
        # PP-YOLOv2 paper, table 1. Row A repeats the figures of the PP-YOLO paper.
        ("ppyolo/ablation/ppyolov2_ablation_a", 608, 45, 45.1, BINARY),
        ("ppyolo/ablation/ppyolov2_ablation_b", 608, 54, 52.0, DECIMAL),
        ("ppyolo/ablation/ppyolov2_ablation_b", 640, 54, 57.6, DECIMAL),
    ],
)
def test_figures_of_the_papers(name, side, params, gflops, units):
    """To the digits printed, when counted as the papers do: all saved values, and multiply-adds of
    all convolutions but the products of the deformable ones. 54 M is cut, not rounded (54.67).
    """
    mega, giga = units
    cost = at_size(name, side)
    millions = cost.values / mega
    if params == 54:
        assert int(millions) == params
    else:
        assert millions == pytest.approx(params, abs=0.006 if isinstance(params, float) else 0.5)
    if gflops is not None:
        counted = (cost.multiply_adds - cost.deformable) / giga
        assert counted == pytest.approx(gflops, abs=0.02)


@pytest.mark.parametrize(
    "row, side, params, gflops, params_bound, gflops_bound",
    [
        # 47.12 M and 51.00 G here. 4.9% of the values and 7.4% of the work are binary units, the
        # deformable products are another 5.3% of the work.
        ("a", 608, 45, 45.1, 0.05, 0.135),
        # 54.67 M, and 54.54 and 60.43 G: the deformable products are 4.9%.
        ("b", 608, 54, 52.0, 0.03, 0.05),
        ("c", 640, 54, 57.6, 0.03, 0.05),
        ("d", 640, 54, 57.6, 0.03, 0.05),
        ("e", 640, 54, 57.6, 0.03, 0.05),
    ],
)
def test_table_1_in_plain_units(row, side, params, gflops, params_bound, gflops_bound):
    """How far the printed figures are from 10^6 values and 10^9 multiply-adds of all layers."""
    built = "a" if row == "a" else "b"  # C, D and E only change sizes and a loss
    base = "ppyolo/ablation/ppyolov2_ablation_"
    here, there = (load_config(CONFIGS / f"{base}{x}.yml") for x in (row, built))
    for section in ("architecture", "num_classes", "YOLOv3", "ResNet", "PPYOLOPAN", "YOLOv3Head"):
        assert here.get(section) == there.get(section)
    cost = at_size(base + built, side)
    assert 0 < cost.values / 1e6 / params - 1 < params_bound
    assert 0 < cost.multiply_adds / 1e9 / gflops - 1 < gflops_bound


@pytest.mark.parametrize(
    "name, side, params, gflops",
    [
        ("yolox_nano_300e_coco", 416, 0.91, 1.08),
        ("yolox_tiny_300e_coco", 416, 5.06, 6.45),
        ("yolox_s_300e_coco", 640, 9.0, 26.8),
        ("yolox_m_300e_coco", 640, 25.3, 73.8),
        ("yolox_l_300e_coco", 640, 54.2, 155.6),
        ("upstream/yolox_nano_upstream_coco", 416, 0.91, 1.08),
    ],
)
def test_figures_of_yolox(name, side, params, gflops):
    """To the digits printed: trainable values in millions, and operations, which are two for a
    multiply-add and four for every value that a batch norm makes.
    """
    cost = at_size(f"yolox/{name}", side)
    operations = 2 * cost.multiply_adds + 4 * cost.norm
    assert cost.trainable / 1e6 == pytest.approx(params, abs=0.05 if params > 6 else 0.006)
    assert operations / 1e9 == pytest.approx(gflops, abs=0.06 if gflops > 9 else 0.006)
    assert 2 * cost.multiply_adds / 1e9 == pytest.approx(gflops, rel=0.035)  # as is printed here


@pytest.mark.parametrize(
    "step, params, gflops",
    [
        ("1_yolov3_spp", 63.00, 157.3),
        ("2_decoupled_head", 63.86, 186.0),
        ("4_anchor_free", 63.72, 185.3),
        ("7_nms_free", 67.27, 205.1),
    ],
)
def test_figures_of_the_roadmap_of_yolox(step, params, gflops):
    """To the digits printed; LeakyReLU counts as below."""
    cost = at_size(f"yolox/roadmap/roadmap_{step}_coco", 640)
    assert cost.trainable / 1e6 == pytest.approx(params, abs=0.0051)
    assert (2 * cost.multiply_adds + 6 * cost.norm) / 1e9 == pytest.approx(gflops, abs=0.051)


def test_figures_of_yolox_darknet53():
    """Their counter knows LeakyReLU, but not SiLU: two more for every value that one makes."""
    cost = at_size("yolox/upstream/yolox_darknet53_upstream_coco", 640)
    assert cost.trainable == 63_724_767  # 63.72 M in the paper
    operations = 2 * cost.multiply_adds + 4 * cost.norm + 2 * cost.norm
    assert operations / 1e9 == pytest.approx(185.3, abs=0.05)


@pytest.mark.parametrize(
    "name, side, params, operations, printed",
    [
        ("yolov4_cspdarknet53", 608, 64_363_101, 128.4, 128.5),
        ("yolov4_cspdarknet53", 512, 64_363_101, 91.0, 91.1),
        ("yolov4_cspdarknet53", 416, 64_363_101, 60.1, 60.1),
        ("yolov4_cspdarknet53", 320, 64_363_101, 35.6, 35.5),
        ("yolov4_csp", 640, 52_921_437, 120.2, 120),
        ("yolov4_csp", 512, 52_921_437, 77.0, 77),
        ("yolov4_tiny", 416, 6_056_606, 6.91, 6.9),
    ],
)
def test_figures_of_darknet(name, side, params, operations, printed):
    """Trained values exactly, and operations (two for a multiply-add) of convolutions; darknet's
    page prints up to 0.1 more.
    """
    cost = at_size(f"yolov4/{name}_coco", side)
    assert cost.trainable == params
    found = 2 * cost.multiply_adds / 1e9
    assert found == pytest.approx(operations, abs=0.06 if operations > 9 else 0.006)
    assert found == pytest.approx(printed, abs=0.3 if isinstance(printed, int) else 0.15)


@pytest.mark.parametrize(
    "name, side",
    [
        ("yolov3/yolov3_darknet53_270e_coco", 608),
        ("yolov3/yolov3_r50vd_dcn_270e_coco", 608),
        ("yolov3/yolov3_mobilenet_v1_270e_coco", 608),
        ("yolov3/yolov3_mobilenet_v1_roadsign", 608),
        ("ppyolo/ppyolo_r50vd_dcn_voc", 608),
        ("asff/yolov3_mobilenet_v2_asff_coco", 416),
        ("yolox/yolox_nano_300e_coco", 416),
        ("yolox/yolox_s_300e_coco", 640),
        ("yolox/yolox_l_300e_coco", 640),
    ],
)
def test_the_page_says_what_is_counted(name, side, repo):
    """docs/reproduction.md: trainable values and work in the last row that links the config."""
    rows = (repo / "docs" / "reproduction.md").read_text(encoding="utf-8").splitlines()
    *_, row = (row for row in rows if f"(../configs/{name}.yml)" in row)
    cost = at_size(name, side)
    work = cost.multiply_adds
    if name.startswith("yolox"):
        work = 2 * cost.multiply_adds + 4 * cost.norm
    cells = [cell.strip() for cell in row.split("|")]
    assert f"{cost.trainable / 1e6:.2f}" in cells and f"{work / 1e9:.2f}" in cells, row


def test_every_config_has_a_row(repo):
    """docs/reproduction.md: all but those that only evaluate, or train as the row above."""
    rows = (repo / "docs" / "reproduction.md").read_text(encoding="utf-8").splitlines()
    text = "\n".join(row for row in rows if row.startswith("|"))
    others = {
        "ppyolo_test",
        "ppyolov2_test",
        "ppyolov2_ablation_c_eval",
        "ppyolov2_ablation_c_fixed",
    }
    missing = {name for name in shipped_configs() if not re.search(rf"\b{name}\b", text)}
    assert missing == others


def test_the_page_links_files_that_are_there(repo):
    text = (repo / "docs" / "reproduction.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\((\.\./[^)#]+)", text))
    assert len(links) > 20
    assert [link for link in links if not (repo / "docs" / link).exists()] == []


def test_report_in_words():
    info = network("ppyolo/ablation/ppyolov2_ablation_b")
    lines = summary(info)
    assert lines[0] == (
        "params   54.67 M values (52.14 x 2^20), 54.58 M of them trainable; 218.7 MB in float32"
    )
    assert lines[1].startswith("GFLOPs   0.60: convolutions and linear layers, a multiply-add")
    assert lines[2].startswith("         0.58 (0.54 x 2^30) without the products of deformable")
    assert lines[3].startswith("         1.21 with a multiply-add as two operations, as YOLOX")
    assert lines[4].startswith("         not in it: batch norm 0.00, sampling of deformable")
    darknet = summary(network("yolov3/yolov3_darknet53_270e_coco"))
    assert darknet[2] == "         0.73 x 2^30, as the PP-YOLO paper counts"
    assert darknet[4] == "         not in it: batch norm 0.00"


def test_table_is_aligned_and_sorted():
    model = Network(nn.Conv2D(3, 2, 1), nn.Conv2D(2, 5, 3, padding=1))
    info = measure(model, 8, 6)
    assert table(info, depth=None, sort=True).splitlines() == [
        "name    type    output  params   share  GFLOPs   share",
        "------------------------------------------------------",
        "part.1  Conv2D  5x8x6       95   92.2%   0.000   93.8%",
        "part.0  Conv2D  2x8x6        8    7.8%   0.000    6.2%",
        "------------------------------------------------------",
        "total                      103  100.0%   0.000  100.0%",
    ]
    assert [line.split()[0] for line in table(info).splitlines()[2:3]] == ["part"]


def test_run_prints_the_table_and_writes_everything(small_config, tmp_path, capsys):
    path = tmp_path / "new" / "info.json"
    cfg = load_config(small_config)
    info = run_model_info(cfg, input_size=[64], depth=2, json=path)
    printed = capsys.readouterr().out
    assert printed.startswith("small: YOLOv3, input 3 x 64 x 64\n")
    assert re.search(r"^backbone.res5 +Sequential +128x2x2 ", printed, re.MULTILINE)
    content = json.loads(path.read_text())
    assert content == json.loads(json.dumps(as_dict(info, "small")))
    assert content["input"] == [3, 64, 64]
    assert content["total"]["values"] == sum(row["values"] for row in content["layers"])
    assert [row["name"] for row in content["parts"]] == ["backbone", "neck", "yolo_head"]
    assert run_model_info(cfg).input_hw == (96, 128)  # of TestReader
    assert run_model_info(cfg, input_size=[32, 64]).input_hw == (32, 64)


@pytest.mark.parametrize(
    "arguments, kind, key",
    [
        ({"input_size": [1, 2, 3]}, ConfigError, "input_size.*1 2 3"),
        ({"input_size": [100]}, ConfigError, "multiples of 32"),
        ({"depth": 0}, ConfigError, "depth.*0"),
        ({"input_size": [32], "json": "file/info.json"}, UserError, "info.json.*cannot be written"),
        ({"input_size": [100], "json": "new/info.json"}, ConfigError, "multiples of 32"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(
    small_config, tmp_path, monkeypatch, arguments, kind, key
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(kind, match=key):
        run_model_info(load_config(small_config), **arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
