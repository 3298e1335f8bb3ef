"""Weight files are read without running them, whatever wrote them; the suffix rule."""

import os
import pickle
import subprocess
from collections import OrderedDict

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.checkpoint import load_resume
from ppdet_lite.weights.files import load_state
from ppdet_lite.weights.load import load_weights, match_keys

# ---- reading weight files ------------------------------------------------------------------------


class _Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "payload, named",
    [
        (_Evil(os.system, "touch {marker}"), "system"),
        (_Evil(eval, "open('{marker}', 'w')"), "eval"),
        (_Evil(exec, "open('{marker}', 'w')"), "exec"),
        (_Evil(subprocess.Popen, "touch {marker}"), "Popen"),
        (_Evil(eval, "data", {"data": 1, "open": 2}), "eval"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_pdparams_is_run(tmp_path, payload, named, protocol):
    marker = tmp_path / "was_run"
    function, arguments = payload.call
    arguments = [a.format(marker=marker) if isinstance(a, str) else a for a in arguments]
    bad = {"w": np.zeros(2), "x": _Evil(function, *arguments)}
    path = tmp_path / "bad.pdparams"
    path.write_bytes(pickle.dumps(bad, protocol=protocol))
    with pytest.raises(CheckpointError, match=f"refused.*{named}"):
        load_state(str(path))
    assert not marker.exists()


def test_an_object_scalar_is_no_way_in(tmp_path):
    marker = tmp_path / "was_run"
    inner = pickle.dumps(_Evil(os.system, f"touch {marker}"))
    scalar = np.float32(1).__reduce__()[0]
    path = tmp_path / "bad.pdparams"
    path.write_bytes(pickle.dumps({"w": _Evil(scalar, np.dtype(object), inner)}))
    with pytest.raises(CheckpointError, match="refused"):
        load_state(str(path))
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_files_of_paddle_save(tmp_path, protocol):
    net = paddle.nn.Sequential(paddle.nn.Conv2D(2, 3, 1), paddle.nn.BatchNorm2D(3))
    path = str(tmp_path / "net.pdparams")
    paddle.save(net.state_dict(), path, protocol=protocol)
    state = load_state(path)
    assert list(state) == list(net.state_dict())
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(state[key], value.numpy())


def test_forms_of_older_and_newer_paddle(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    pieces = {
        "chunked": array.reshape(-1)[:4],
        "chunked@@.1": array.reshape(-1)[4:],
        "UnpackBigParamInfor@@": {
            "chunked": {"OriginShape": (2, 3), "slices": ["chunked", "chunked@@.1"]}
        },
    }
    content = OrderedDict(
        named=_Evil(tuple, ("named_0", array)),  # as Paddle 2 pickles a tensor
        dense=_Evil(eval, "data", {"data": array}),  # as Paddle pickles a dense tensor
        scalar=np.float32(2.5),
        **pieces,
    )
    content["StructuredToParameterName@@"] = {"named": "conv2d_0.w_0"}
    path = tmp_path / "old.pdparams"
    path.write_bytes(pickle.dumps(content, protocol=2))
    state = load_state(str(path))
    assert set(state) == {"named", "dense", "scalar", "chunked"}
    assert state["scalar"] == 2.5
    for key in ("named", "dense", "chunked"):
        np.testing.assert_array_equal(state[key], array)


def test_safetensors(tmp_path):
    save_file = pytest.importorskip("safetensors.numpy").save_file

    save_file({"w": np.float32([1, 2])}, str(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(load_state(str(tmp_path / "m"))["w"], [1, 2])
    (tmp_path / "n.safetensors").write_bytes(b"no header here")
    with pytest.raises(CheckpointError, match="n.safetensors: damaged"):
        load_state(str(tmp_path / "n"))


@pytest.mark.parametrize(
    "data", [b"", b"<html>404</html>", b"\x80\x04", pickle.dumps([1]), pickle.dumps({"a": 1})]
)
def test_files_that_are_no_weights(tmp_path, data):
    path = tmp_path / "x.pdparams"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="x.pdparams") as error:
        load_state(str(path))
    assert "refused" not in str(error.value)


def test_a_file_cut_short_is_called_damaged(tmp_path):
    path = tmp_path / "w.pdparams"
    save_arrays(path, {"a": np.zeros(5000, "f4")})
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(CheckpointError, match="damaged or not a weight file .*truncated"):
        load_state(str(path))


def test_a_missing_file_lists_its_neighbors(tmp_path):
    (tmp_path / "best_model.pdparams").write_bytes(b"")
    with pytest.raises(CheckpointError, match="the folder holds best_model.pdparams"):
        load_state(str(tmp_path / "best"))
    for folder in (tmp_path, f"{tmp_path}/"):  # forgotten: which of the checkpoints in it
        with pytest.raises(CheckpointError, match="the folder holds best_model.pdparams"):
            load_state(str(folder))
    (tmp_path / "best_model.pdopt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="can be resumed from: best_model"):
        load_resume(str(tmp_path))
    with pytest.raises(CheckpointError, match="there is no folder"):
        load_state(str(tmp_path / "absent" / "best"))


# ---- the suffix rule -----------------------------------------------------------------------------


def test_suffix_rule():
    model = ["backbone.res2.conv.weight", "backbone.conv.weight", "head.bias"]
    assert match_keys(model, ["res2.conv.weight", "head.bias", "fc.weight"]) == {
        "backbone.res2.conv.weight": "res2.conv.weight",
        "head.bias": "head.bias",
    }
    # the longest file key wins
    assert match_keys(["a.b.c"], ["c", "b.c"]) == {"a.b.c": "b.c"}
    # part of a name is no suffix
    assert match_keys(["xconv.weight"], ["conv.weight"]) == {}
    # an exact owner keeps its tensor
    for keys in (["conv.weight", "b.conv.weight"], ["b.conv.weight", "conv.weight"]):
        assert match_keys(keys, ["conv.weight"]) == {"conv.weight": "conv.weight"}
    # of several model keys the one whose shape agrees takes it
    only_b = lambda key, source: key.startswith("b.")  # noqa: E731
    assert match_keys(["a.conv", "b.conv"], ["conv"], only_b) == {"b.conv": "conv"}
    with pytest.raises(CheckpointError, match="conv.weight .* fits two of the model: a.* and b"):
        match_keys(["a.conv.weight", "b.conv.weight"], ["conv.weight"])


class _Detector(paddle.nn.Layer):
    """A 4-tensor backbone and an 8-tensor rest."""

    def __init__(self, classes=2):
        super().__init__()
        self.backbone = paddle.nn.Sequential(
            ("stem", paddle.nn.Linear(2, 2)), ("top", paddle.nn.Linear(2, 3))
        )
        self.neck = paddle.nn.Sequential(*[paddle.nn.Linear(3, 3) for _ in range(3)])
        self.yolo_head = paddle.nn.Linear(3, classes)


def save_arrays(path, arrays):
    path.write_bytes(pickle.dumps(arrays))
    return str(path)


def test_a_backbone_file_loads_into_its_part(tmp_path):
    net = _Detector()
    backbone = {k: np.full(v.shape, 7.0, "f4") for k, v in net.backbone.state_dict().items()}
    path = save_arrays(tmp_path / "b.pdparams", {**backbone, "fc.weight": np.zeros((9, 9), "f4")})
    report = load_weights(net, path, part_of_model=True)
    assert len(report.matched) == 4 and len(report.missing) == 8
    assert report.unexpected == ["fc.weight"]
    assert "4 of the model's 12 tensors loaded" in report.lines()[0]
    assert float(net.backbone.top.bias[0]) == 7.0
    with pytest.raises(CheckpointError, match="less than half of the model"):
        load_weights(net, path)
    assert load_weights(net, path, allow_partial=True).matched == report.matched


def test_a_file_that_fits_by_chance_is_refused_and_nothing_is_set(tmp_path):
    net = _Detector()
    before = {k: v.numpy() for k, v in net.state_dict().items()}
    other = {f"other.{i}.weight": np.zeros(3, "f4") for i in range(9)}
    other["backbone.stem.bias"] = np.full(2, 7.0, "f4")
    path = save_arrays(tmp_path / "o.pdparams", other)
    for part in (False, True):
        with pytest.raises(CheckpointError, match="1 of the model's 12 tensors"):
            load_weights(net, path, part_of_model=part)
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_of_a_diverged_run_are_refused_and_nothing_is_set(tmp_path, value):
    net = _Detector()
    before = {k: v.numpy() for k, v in net.state_dict().items()}
    arrays = {key: array + 1 for key, array in before.items()}
    key = next(key for key, array in before.items() if array.ndim == 2)
    arrays[key][0, 0] = value
    path = save_arrays(tmp_path / "d.pdparams", arrays)
    with pytest.raises(CheckpointError, match=rf"1 of its tensors hold NaN or inf.*{key}"):
        load_weights(net, path)
    for name, tensor in net.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])


def test_other_number_of_classes_is_reported(tmp_path):
    arrays = {k: v.numpy() for k, v in _Detector(classes=80).state_dict().items()}
    report = load_weights(_Detector(), save_arrays(tmp_path / "c.pdparams", arrays))
    assert [key for key, _, _ in report.mismatched] == ["yolo_head.weight", "yolo_head.bias"]
    text = "\n".join(report.lines())
    assert "yolo_head.weight [3, 80] in the file, [3, 2] here" in text
    assert "another number of classes" in text


def test_half_precision_files_are_widened(tmp_path):
    net = paddle.nn.Linear(2, 1)
    bfloat16 = (np.float32([[1.5], [-2.0]]).view(np.uint32) >> 16).astype(np.uint16)
    arrays = {"weight": bfloat16, "bias": np.float16([0.25])}
    load_weights(net, save_arrays(tmp_path / "h.pdparams", arrays))
    assert net.weight.numpy().tolist() == [[1.5], [-2.0]] and net.bias.item() == 0.25
    assert net.weight.dtype == paddle.float32
