"""Weights of darknet: files written by its rule are read back, damaged ones are refused by name."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_lite.commands.weights.convert import build_parser, main
from ppdet_lite.core.errors import CheckpointError, UserError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.weights.convert.converter import conversion_of, convert_file
from ppdet_lite.weights.convert.darknet import _by_length, network_of_cfg
from ppdet_lite.weights.convert.darknet_cfg import read_cfg
from ppdet_lite.weights.convert.darknet_plans import CLASSIFIERS, PLANS
from tests.weights.darknet_files import CLASSES, SEEN, TINY_CFG, leading, norm_conv, numbered

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NETWORKS = {
    "yolov4": "yolov4/yolov4_cspdarknet53_coco",
    "yolov4-csp": "yolov4/yolov4_csp_coco",
    "yolov4-tiny": "yolov4/yolov4_tiny_coco",
    "yolov3": "yolov3/yolov3_darknet53_270e_coco",
    "csresnext50-panet-spp": "yolov4/ablation/yolov4_ablation_base",
}


@pytest.mark.parametrize("network", PLANS)
def test_plan_is_the_network(network):
    cfg = load_config(CONFIGS / f"{NETWORKS[network]}.yml", [f"num_classes={CLASSES}"])
    model = create(cfg.architecture, cfg)
    convs = {k: v for k, v in model.named_sublayers() if isinstance(v, paddle.nn.Conv2D)}
    found = {}
    for conv in PLANS[network](CLASSES):
        name = f"{conv.name}.conv" if conv.has_norm else conv.name
        found[name] = list(conv.shape)
        assert (convs[name].bias is None) == conv.has_norm
    assert found == {name: list(conv.weight.shape) for name, conv in convs.items()}


def grouped(filters, size, stride=1):
    return f"{norm_conv(filters, size)}groups=32\nstride={stride}\n"


def resnext_cfg(classes):
    """The text of csresnext50.cfg."""
    text = f"[net]\nchannels=3\n{norm_conv(64, 7)}[maxpool]\nsize=2\nstride=2\n"
    for width, blocks in zip((128, 256, 512, 1024), (3, 3, 5, 2)):
        entry, one = 64 if width == 128 else width, norm_conv(width, 1)
        text += "" if width == 128 else grouped(width, 3, 2)
        text += f"{one}[route]\nlayers = -2\n{norm_conv(entry, 1)}"
        text += (one + grouped(width, 3) + one + "[shortcut]\nfrom=-4\n") * blocks + one
        text += f"[route]\nlayers = -1,-{4 + 4 * blocks}\n{norm_conv(2 * width, 1)}"
    return f"{text}[avgpool]\n[convolutional]\nfilters={classes}\n[softmax]\ngroups=1\n"


def test_convolutions_in_groups_are_told_apart(tmp_path):
    path = tmp_path / "classifier.cfg"
    path.write_text(resnext_cfg(7))
    assert network_of_cfg(path) == ("csresnext50", 7)
    path.write_text(resnext_cfg(21).replace("groups=32", "groups=16"))
    with pytest.raises(CheckpointError, match="convolution"):
        network_of_cfg(path)


@pytest.mark.parametrize("network, millions", [("csdarknet53", 27.6), ("csresnext50", 20.6)])
def test_classifiers_give_their_backbone(network, millions, tmp_path):
    plan = list(CLASSIFIERS[network](1000))
    count = sum(conv.values for conv in plan)
    assert count / 1e6 == pytest.approx(millions, abs=0.1)  # table 1 of YOLOv4
    path = tmp_path / f"{network}.weights"
    header = np.array([0, 2, 5], "<i4").tobytes() + np.array([SEEN], "<u8").tobytes()
    path.write_bytes(header + np.arange(1, 1 + count, dtype="<f4").tobytes())
    found = conversion_of(path)
    assert found.left_out == ["classifier.bias", "classifier.weight"]
    assert {key.partition(".")[0] for key in found.state} == {"backbone"}
    assert not found.has_coco_classes
    stem = found.state["backbone.stem.conv.weight"]
    channels = len(stem)
    assert stem.ravel()[0] == 1 + 4 * channels  # behind the norm
    assert sum(array.size for array in found.state.values()) == count - plan[-1].values


CUTS = [
    ("yolov4.conv.137", "yolov4", "neck.top_down.1.convs.4", 94, 110),
    ("csdarknet53-omega.conv.105", "yolov4", "backbone.stages.4.transition", 72, 110),
    ("yolov4-csp.conv", "yolov4-csp", "neck.top_down.1.transition", 98, 115),
    ("yolov4-tiny.conv.29", "yolov4-tiny", "yolo_head.yolo_conv.0", 17, 21),
    ("darknet53.conv.74", "yolov3", "backbone.stage.4.stage.4.3.conv2", 52, 75),
]
"""Files that trainings of darknet start from, and the last convolution in them."""


@pytest.mark.parametrize("name, network, last, length, whole", [CUTS[3], CUTS[4]])
def test_backbones_are_read_in_part(name, network, last, length, whole, tmp_path):
    convs = leading(network, last)
    assert len(convs) == length
    conversion = conversion_of(numbered(tmp_path / name, convs))
    assert conversion.is_part and not conversion.has_coco_classes
    assert f"the first {length} of the {whole} convolutions of {network}, up to {last}" in (
        "\n".join(conversion.lines())
    )
    last_array = list(conversion.state.values())[-1]
    count = sum(conv.values for conv in convs)
    assert last_array.ravel()[-1] == np.float32(count) and len(conversion.state) == 5 * length


def test_beginnings_of_networks_are_told_apart():
    for name, network, last, _, _ in CUTS:
        count = sum(conv.values for conv in leading(network, last))
        assert _by_length(Path(name), count) == (network, 1)
    lengths = {}
    for network, plan_of in PLANS.items():
        plan = list(plan_of(1))
        ends = np.cumsum([conv.values for conv in plan])
        for i, conv in enumerate(plan):
            rest = [later.name.partition(".")[0] for later in plan[i + 1 :]]
            if "backbone" not in rest and all(c.has_norm for c in [*plan[:i], conv]):
                lengths.setdefault(int(ends[i]), set()).add(network)
    assert all(len(networks) == 1 for networks in lengths.values())


def test_a_part_of_a_backbone_is_refused(tmp_path):
    convs = leading("yolov4-tiny", "backbone.blocks.2.transition")
    with pytest.raises(CheckpointError, match="truncated"):
        convert_file(numbered(tmp_path / "a.conv.20", convs))


def test_a_training_starts_from_a_part(tmp_path, capsys):
    config = CONFIGS / f"{NETWORKS['yolov4-tiny']}.yml"
    small = tmp_path / "small.yml"
    small.write_text(f"_BASE_: {config}\nnum_classes: {CLASSES}\nuse_gpu: false\n")
    file = numbered(tmp_path / "tiny.conv.29", leading("yolov4-tiny", "yolo_head.yolo_conv.0"))
    output_file = tmp_path / "tiny.pdparams"
    arguments = [str(file), "--output", str(output_file), "-c"]
    main(build_parser().parse_args([*arguments, str(small)]))
    printed = capsys.readouterr().out
    assert "pretrain_weights=" in printed and "85 of the model's" in printed
    other = tmp_path / "other.yml"
    other.write_text(f"_BASE_: {small}\nwidth_mult: 0.5\n")
    with pytest.raises(CheckpointError, match="not a part of the network of other|less than half"):
        main(build_parser().parse_args([*arguments, str(other)]))


def test_read_back(tiny, tiny_file, cfg_file, caplog):
    for description in (None, cfg_file):
        name, state = convert_file(tiny_file, None, description)
        assert name == "darknet" and list(state) == list(tiny[0])
        for key, value in tiny[0].items():
            np.testing.assert_array_equal(state[key], value)
    assert "yolov4-tiny with 2 classes, 21 convolutions, " in caplog.text
    assert f"version 0.2.5, {SEEN} images seen" in caplog.text


def test_old_header(tiny, tiny_file):
    old = np.array([0, 1, 0, 64], "<i4").tobytes()
    tiny_file.write_bytes(old + tiny[1][20:])
    assert convert_file(tiny_file)[1].keys() == tiny[0].keys()


def test_command(tiny, tiny_file, cfg_file, tmp_path, capsys):
    config = CONFIGS / f"{NETWORKS['yolov4-tiny']}.yml"
    small = tmp_path / "small.yml"
    small.write_text(f"_BASE_: {config}\nnum_classes: {CLASSES}\nuse_gpu: false\n")
    output_file = tmp_path / "new" / "tiny.pdparams"
    arguments = [str(tiny_file), "--cfg", str(cfg_file), "--output", str(output_file)]
    main(build_parser().parse_args([*arguments, "-c", str(small)]))
    assert f"{len(tiny[0])} tensors" in capsys.readouterr().out
    assert output_file.is_file()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: data[:-4], "truncated"),
        (lambda data: data[:-3], "whole number of float32"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data + data[-4:], "too long"),
        (lambda data: data[:18], "truncated: 18 bytes"),
        (lambda data: data[:7], "truncated: 7 bytes"),
        (lambda data: b"\xff" * 12 + data[12:], "found version -1.-1.-1"),
        (lambda data: data[:20] + b"\x00\x00\xc0\x7f" + data[24:], "NaN.*stem.0.batch_norm.bias"),
        # A shift by a norm's length puts means for variances.
        (lambda data: data[:20] + data[-512:] + data[20:-512], "negative variances"),
    ],
)
def test_damaged_files(tiny, tiny_file, cfg_file, change, message):
    tiny_file.write_bytes(change(tiny[1]))
    for description in (None, cfg_file):
        with pytest.raises(CheckpointError, match=message) as caught:
            convert_file(tiny_file, None, description)
        assert str(tiny_file) in str(caught.value)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("filters=512", "filters=500", "convolution 14: found 512 to 500 .*allowed: 512 to 512"),
        ("filters=21", "filters=22", "22 filters"),
        ("filters=32\n", "filters=many\n", r"filters: found 'many', allowed: a whole number"),
        ("layers = -1, 23", "layers = -1, 230", r"\[route\] layers: found ' 230'"),
        ("[maxpool]", "[lstm]", r"found \[lstm\], allowed"),
        ("[net]\n", "[other]\n", "no darknet network"),
        ("layers = -4\n", "layers -4\n", "allowed: key=value"),
    ],
)
def test_cfg_of_another_network(tiny_file, cfg_file, old, new, message):
    assert old in TINY_CFG
    cfg_file.write_text(TINY_CFG.replace(old, new))
    with pytest.raises(CheckpointError, match=message) as caught:
        convert_file(tiny_file, None, cfg_file)
    assert str(cfg_file) in str(caught.value)


def test_more_classes_than_the_file(tiny_file, cfg_file):
    cfg_file.write_text(TINY_CFG.replace("filters=21", "filters=24"))
    with pytest.raises(CheckpointError, match="truncated: .* with 3 classes"):
        convert_file(tiny_file, None, cfg_file)


def test_cfg_reads_every_section(tmp_path):
    path = tmp_path / "net.cfg"
    path.write_text(
        "[net]\nchannels=4\n[convolutional]\nfilters=8\nsize=3\n[convolutional]\nfilters=8\n"
        "cbn=1\n[shortcut]\nfrom=-2\n[sam]\nfrom=-3\n[route]\nlayers=0,1\n[convolutional]\n"
        "groups=4\nfilters=6\n"
    )
    found = read_cfg(path)
    assert [(c.ch_in, c.ch_out, c.size, c.groups, c.has_norm) for c in found] == [
        (4, 8, 3, 1, False),
        (8, 8, 1, 1, True),
        (16, 6, 1, 4, False),
    ]


def test_cfg_belongs_to_darknet(tmp_path, cfg_file):
    np.savez(tmp_path / "a.npz", **{"head.reg_preds.0.weight": np.zeros(1)})
    with pytest.raises(UserError, match="cfg.*tiny.cfg"):
        convert_file(tmp_path / "a.npz", None, cfg_file)
