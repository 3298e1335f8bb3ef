"""Weights of other projects: checkpoints of PyTorch are read without PyTorch, names are mapped."""

import pickle
import struct
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.commands.weights import convert as command
from ppdet_lite.core.errors import CheckpointError, UserError
from ppdet_lite.weights.checkpoint import read_meta
from ppdet_lite.weights.convert.asff import ASFFConverter
from ppdet_lite.weights.convert.converter import convert_file
from ppdet_lite.weights.convert.darknet import DarknetConverter
from ppdet_lite.weights.convert.yolox import YOLOXConverter, csp_key, darknet_key
from ppdet_lite.weights.files import load_state
from ppdet_lite.weights.safetensors_file import write_safetensors
from ppdet_lite.weights.torch_file import read_tensors
from tests.weights.torch_writer import KINDS, Tensor, write_torch


@pytest.fixture
def written(tmp_path):
    """Writes a checkpoint of PyTorch in the folder of the test."""

    def write(content, name="weights.pth", **options):
        return write_torch(tmp_path / name, content, **options)

    return write


def test_tensors_of_every_type_and_layout(written):
    base = np.arange(12, dtype=np.float32)
    content = {
        "model": {
            **{code: Tensor.of(np.arange(6).reshape(2, 3).astype(code)) for code in KINDS},
            "rows": Tensor(base, (2, 3), (3, 1), 6),
            "turned": Tensor(base, (3, 4), (1, 3)),
            "number": Tensor(base, (), (), 5),
            "none": Tensor(base, (0, 3), (3, 1)),
        },
        "optimizer": {"state": {0: {"momentum": Tensor.of(np.ones(3, np.float32))}}},
        "start_epoch": 300,
    }
    state = read_tensors(written(content, extra=[("byteorder", "little")]))
    for code in KINDS:
        np.testing.assert_array_equal(state[code], np.arange(6).reshape(2, 3).astype(code))
    np.testing.assert_array_equal(state["rows"], base[6:].reshape(2, 3))
    np.testing.assert_array_equal(state["turned"], base.reshape(4, 3).T)
    assert state["number"] == 5 and state["none"].shape == (0, 3)


def test_the_versions_beside_a_state_dict_are_passed_over(written):
    class OrderedDict(dict):
        def __reduce_ex__(self, protocol):
            import collections

            return (
                collections.OrderedDict,
                (),
                {"_metadata": {"": {"version": 1}}},
                None,
                iter(self.items()),
            )

    path = written(OrderedDict(weight=Tensor.of(np.float32([1, 2]))))
    assert read_tensors(path)["weight"].tolist() == [1, 2]


class Evil:
    def __reduce__(self):
        return print, ("called",)


@pytest.mark.parametrize(
    "content, text",
    [
        ({"model": Evil()}, "refused.*builtin.*print"),
        ({"w": Tensor(np.zeros(4, np.float32), (5,), (1,))}, r"tensor \[5\] beyond the 4"),
        ({"w": Tensor(np.zeros(4, np.float32), (2,), (4,))}, "beyond the 4"),
        ({"w": Tensor(np.zeros(4, np.float32), (9, 9), (0, 0))}, "beyond the 4"),
        ({"w": Tensor(np.zeros(4, np.float32), (2,), (-1,))}, "no counts"),
        ({"epoch": 3}, "holds no tensors"),
    ],
)
def test_what_is_refused(written, content, text, capsys):
    with pytest.raises(CheckpointError, match=text):
        read_tensors(written(content))
    assert capsys.readouterr().out == ""


def test_damaged_files(written, tmp_path):
    path = written({"w": Tensor.of(np.ones(1000, np.float32))})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"weights\.pth: damaged"):
        read_tensors(path)
    path.write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(CheckpointError, match="no zip archive"):
        read_tensors(path)
    with pytest.raises(CheckpointError, match="no such file"):
        read_tensors(tmp_path / "missing.pth")
    content = {"w": Tensor.of(np.ones(9999, np.float32))}
    packed = written(content, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed"):
        read_tensors(packed)
    objects = tmp_path / "objects.npz"
    np.savez(objects, w=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError, match="objects.npz"):
        read_tensors(objects)


# YOLOX


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("backbone.backbone.stem.conv.conv.weight", "backbone.stem.conv.conv.weight"),
        (
            "backbone.backbone.dark3.1.m.2.conv2.dconv.bn.running_var",
            "backbone.layers4.stage2.csp_layer.bottlenecks.2.conv2.dw_conv.bn._variance",
        ),
        (
            "backbone.backbone.dark5.0.pconv.conv.weight",
            "backbone.layers7.stage4.conv_layer.pw_conv.conv.weight",
        ),
        ("backbone.C3_n4.conv3.bn.bias", "neck.pan_blocks.1.conv3.bn.bias"),
        ("head.cls_preds.2.weight", "head.conv_cls.2.2.weight"),
        ("backbone.backbone.dark6.0.conv.weight", None),
        ("neck.conv.weight", None),
    ],
)
def test_names_of_csp_networks(theirs, ours):
    assert csp_key(theirs) == ours


@pytest.mark.parametrize(
    "theirs, ours",
    [
        (
            "backbone.backbone.dark2.0.bn.running_mean",
            "backbone.stage.0.downsample.conv_bn_layer.batch_norm._mean",
        ),
        (
            "backbone.backbone.stem.2.layer2.conv.weight",
            "backbone.stage.0.basicblock0.conv2.conv.weight",
        ),
        (
            "backbone.backbone.dark4.8.layer1.conv.weight",
            "backbone.stage.3.stage.3.7.conv1.conv.weight",
        ),
        ("backbone.out2.4.conv.weight", "neck.yolo_block.2.conv_module.route.conv.weight"),
        ("backbone.backbone.dark5.7.conv2.conv.weight",
         "neck.yolo_block.0.conv_module.spp.conv.conv.weight"),
    ],
)  # fmt: skip
def test_names_of_darknet(theirs, ours):
    assert darknet_key(theirs) == ours


def test_box_and_objectness_become_one_layer():
    state = {
        "head.reg_preds.0.bias": np.arange(4.0),
        "head.obj_preds.0.bias": np.float64([7]),
        "head.stems.0.bn.num_batches_tracked": np.int64(3),
    }
    converted = YOLOXConverter().convert(state)
    assert list(converted) == ["head.conv_reg.0.2.bias"]
    assert converted["head.conv_reg.0.2.bias"].tolist() == [0, 1, 2, 3, 7]
    with pytest.raises(CheckpointError, match="head.reg_preds.0.bias, but no head.obj_preds"):
        YOLOXConverter().convert({"head.reg_preds.0.bias": np.arange(4.0)})
    with pytest.raises(CheckpointError, match="the tensor other.weight"):
        YOLOXConverter().convert({"other.weight": np.zeros(1)})


THEIRS = {
    "backbone.backbone.stem.conv.conv.weight": np.ones((2, 12, 3, 3), np.float32),
    "head.reg_preds.0.bias": np.arange(4, dtype=np.float32),
    "head.obj_preds.0.bias": np.float32([7]),
}


def test_the_converter_is_found(tmp_path, written):
    np.savez(tmp_path / "nano.npz", **THEIRS)
    name, state = convert_file(tmp_path / "nano.npz")
    assert name == "yolox" and len(state) == 2
    wrapped = {f"module.{key}": Tensor.of(array) for key, array in THEIRS.items()}
    assert convert_file(written({"model": wrapped}, "a.pth.tar"))[1].keys() == state.keys()
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"other\.npz: its tensors are not"):
        convert_file(tmp_path / "other.npz")
    with pytest.raises(UserError, match=r"found the ending '\.txt'"):
        convert_file(tmp_path / "a.txt")
    with pytest.raises(UserError, match="`source`: found caffe, allowed: .*yolox"):
        convert_file(tmp_path / "nano.npz", "caffe")


def test_safetensors(tmp_path):
    def written(name, state):
        with open(tmp_path / name, "wb") as stream:
            write_safetensors(stream, state)
        return tmp_path / name

    name, state = convert_file(written("nano.safetensors", THEIRS))
    assert name == "yolox" and state.keys() == YOLOXConverter().convert(THEIRS).keys()
    ours = {"backbone.stem.bn._mean": np.zeros(3, np.float32), "head.x.weight": np.ones((2, 3))}
    name, state = convert_file(written("ours.safetensors", ours))
    assert name == "ppdet" and list(state) == list(ours)
    np.testing.assert_array_equal(state["head.x.weight"], ours["head.x.weight"])
    with pytest.raises(CheckpointError, match="not those of a network of .*YOLOX"):
        convert_file(written("timm.safetensors", {"conv1.running_mean": np.zeros(3)}))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "nano.safetensors").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="cut.safetensors: damaged"):
        convert_file(tmp_path / "cut.safetensors")


def test_the_command_writes_a_checkpoint(tmp_path, capsys):
    counter = {"backbone.backbone.stem.conv.bn.num_batches_tracked": np.int64(1)}
    np.savez(tmp_path / "nano.npz", **THEIRS, **counter)
    output = tmp_path / "out" / "nano.pdparams"
    options = [str(tmp_path / "nano.npz"), "--output", str(output)]
    command.main(command.build_parser().parse_args(options))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("nano.npz: 4 tensors read (yolox), 1 joined with another, 1 left out "
                             "(num_batches_tracked)")  # fmt: skip
    assert lines[1:3] == ["  backbone: 1 tensors, 216 numbers", "  head: 1 tensors, 5 numbers"]
    assert lines[3] == f"{output}: 2 tensors, class names unknown"
    found = load_state(str(output))
    assert found["head.conv_reg.0.2.bias"].tolist() == [0, 1, 2, 3, 7]
    assert struct.calcsize("f") * found["backbone.stem.conv.conv.weight"].size == 864


@pytest.mark.parametrize("name", ["yolox.nano.npz", "nano.npz"])
def test_the_command_writes_beside_the_file(tmp_path, capsys, name):
    np.savez(tmp_path / name, **THEIRS)
    arguments = command.build_parser().parse_args([str(tmp_path / name)])
    command.main(arguments)
    output = tmp_path / name.replace(".npz", ".pdparams")
    assert output.is_file() and f"{output}: 2 tensors" in capsys.readouterr().out
    before = output.read_bytes()
    with pytest.raises(UserError, match=f"{output.name} is there already; `output`"):
        command.main(arguments)
    assert output.read_bytes() == before


def test_the_ending_of_a_name_with_two():
    assert command.default_output(Path("w/yolox_s.pth.tar")) == Path("w/yolox_s.pdparams")


@pytest.mark.parametrize(
    "classes, options, config",
    [
        (80, [], None),
        (80, ["-c", "{folder}/own.yml"], "{folder}/own.yml"),
        (4, ["-c", "yolox_nano_upstream_coco"], "yolox_nano_upstream_coco"),  # does not fit, below
        (4, [], None),
    ],
)
def test_classes_and_configuration_stand_beside_the_weights(tmp_path, classes, options, config):
    np.savez(tmp_path / "n.npz", **THEIRS, **{"head.cls_preds.0.bias": np.zeros(classes)})
    base = "_BASE_: yolox_nano_upstream_coco\n"
    (tmp_path / "own.yml").write_text(f"{base}allow_partial_weights: true\n")
    options = [option.format(folder=tmp_path) for option in options]
    arguments = [str(tmp_path / "n.npz"), "--output", str(tmp_path / "n.pdparams"), *options]
    fails = pytest.raises(CheckpointError, match="allow_partial") if options else nullcontext()
    with fails if classes == 4 else nullcontext():
        command.main(command.build_parser().parse_args(arguments))
    meta = read_meta(str(tmp_path / "n"))
    assert meta.get("config") == (config and config.format(folder=tmp_path))
    if classes == 80 or options:
        assert (meta["class_names"][45], meta["category_ids"][45]) == ("bowl", 51)
    else:
        assert "class_names" not in meta


def test_outputs_of_coco_in_heads_of_the_yolov3_form():
    def outputs(*channels):
        rows = {f"yolo_head.yolo_output.{i}.bias": np.zeros(n) for i, n in enumerate(channels)}
        return DarknetConverter().has_coco_classes(rows), ASFFConverter().has_coco_classes(rows)

    assert outputs(255, 255, 255) == outputs(340, 340) == (True, True)
    assert outputs(75, 75, 75) == outputs(255, 75) == outputs() == (False, False)
