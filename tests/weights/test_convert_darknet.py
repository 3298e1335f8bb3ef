"""Weights of darknet: files written by its rule are read back, damaged ones are refused by name."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_lite.commands.weights.convert import build_parser, main
from ppdet_lite.core.errors import CheckpointError, UserError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.weights.convert.converter import conversion_of, convert_file
from ppdet_lite.weights.convert.darknet import NORM_LEAVES, network_of_cfg
from ppdet_lite.weights.convert.darknet_cfg import read_cfg
from ppdet_lite.weights.convert.darknet_plans import CLASSIFIERS, PLANS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NETWORKS = {
    "yolov4": "yolov4/yolov4_cspdarknet53_coco",
    "yolov4-csp": "yolov4/yolov4_csp_coco",
    "yolov4-tiny": "yolov4/yolov4_tiny_coco",
    "yolov3": "yolov3/yolov3_darknet53_270e_coco",
    "csresnext50-panet-spp": "yolov4/ablation/yolov4_ablation_base",
}
CLASSES, SEEN = 2, 5_000_000_000

# The network of yolov4-tiny.cfg for two classes.
TINY_BLOCK = """
[convolutional]
batch_normalize=1
filters={0}
size=3
[route]
layers=-1
groups=2
group_id=1
[convolutional]
batch_normalize=1
filters={1}
size=3
[convolutional]
batch_normalize=1
filters={1}
size=3
[route]
layers = -1,-2
[convolutional]
batch_normalize=1
filters={0}
size=1
[route]
layers = -6,-1
[maxpool]
size=2
stride=2
"""


def norm_conv(filters, size):
    return f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\n"


def output(filters):
    return f"[convolutional]\nsize=1\nfilters={filters}\nactivation=linear\n[yolo]\nmask = 3,4,5\n"


TINY_CFG = "".join(
    [
        "# of a test\n[net]\nwidth=416\nchannels=3\n",
        norm_conv(32, 3),
        norm_conv(64, 3),
        *(TINY_BLOCK.format(width, width // 2) for width in (64, 128, 256)),
        *(norm_conv(512, 3), norm_conv(256, 1), norm_conv(512, 3), output(21)),
        "[route]\nlayers = -4\n",
        norm_conv(128, 1),
        "[upsample]\nstride=2\n[route]\nlayers = -1, 23\n",
        *(norm_conv(256, 3), output(21)),
    ]
)


def tiny_weights():
    """Values of yolov4-tiny with two classes under the names here, and the bytes of its file."""
    rng = np.random.default_rng(0)
    state, numbers = {}, []
    for conv in PLANS["yolov4-tiny"](CLASSES):
        leaves = [f"{conv.name}.batch_norm.{leaf}" for leaf in NORM_LEAVES]
        kernel = f"{conv.name}.conv.weight"
        if not conv.has_norm:
            leaves, kernel = [f"{conv.name}.bias"], f"{conv.name}.weight"
        for name in leaves:
            state[name] = rng.uniform(0.5, 1.5, conv.ch_out).astype(np.float32)
        state[kernel] = rng.normal(0, 0.05, conv.shape).astype(np.float32)
        numbers += [state[name].tobytes() for name in (*leaves, kernel)]
    header = np.array([0, 2, 5], "<i4").tobytes() + np.array([SEEN], "<u8").tobytes()
    return state, header + b"".join(numbers)


@pytest.fixture(scope="module")
def tiny():
    return tiny_weights()


@pytest.fixture
def tiny_file(tiny, tmp_path):
    path = tmp_path / "tiny.weights"
    path.write_bytes(tiny[1])
    return path


@pytest.fixture
def cfg_file(tmp_path):
    path = tmp_path / "tiny.cfg"
    path.write_text(TINY_CFG)
    return path


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
