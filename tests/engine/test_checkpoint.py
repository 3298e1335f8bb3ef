"""Checkpoints are whole or not there, weight files are read without running them, suffix rule."""

import errno
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.engine import checkpoint as module
from ppdet_lite.engine.checkpoint import (
    clean_temporaries,
    load_resume,
    load_state,
    load_weights,
    read_meta,
    save_checkpoint,
)
from ppdet_lite.engine.hooks.checkpoint import CheckpointHook
from ppdet_lite.engine.weights import match_keys


def tree(folder):
    return sorted(p.name for p in folder.iterdir())


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


# ---- writing -------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_and_paddle_reads_it(tmp_path):
    weights = {"a.weight": np.float32([[1, 2]]), "a._mean": np.float32([3])}
    stem = save_checkpoint(str(tmp_path), "7", weights, {"epoch": 7, "n": "é"}, {"position": 3})
    assert tree(tmp_path) == ["7.meta.json", "7.pdopt", "7.pdparams"]
    for path in (stem, stem + ".pdparams"):
        np.testing.assert_array_equal(load_state(path)["a.weight"], weights["a.weight"])
        assert read_meta(path) == {"epoch": 7, "n": "é"}
    for path in (stem, stem + ".pdparams", stem + ".pdopt"):
        assert load_resume(path)["position"] == 3
    np.testing.assert_array_equal(paddle.load(stem + ".pdparams")["a._mean"].numpy(), [3])


@pytest.mark.parametrize("failing_call", [1, 2, 3])
def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch, failing_call):
    save_checkpoint(str(tmp_path), "best_model", {"w": np.zeros(3)}, {"v": 1}, {"p": 1})
    before = contents(tmp_path)
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == failing_call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device.*are untouched"):
        save_checkpoint(str(tmp_path), "best_model", {"w": np.ones(3)}, {"v": 2}, {"p": 2})
    assert contents(tmp_path) == before


_WRITER = """
import sys, numpy as np
from ppdet_lite.engine.checkpoint import save_checkpoint
for n in range(10**6):
    big = np.full(400_000, n, np.float32)
    save_checkpoint(sys.argv[1], "1", {"w": big}, {"n": n}, {"n": n, "w": big})
    print(n, flush=True)
"""


def test_kill_9_leaves_whole_files_and_the_rest_is_cleaned_up(tmp_path, repo):
    for delay in (0.0, 0.004, 0.011):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)],
            cwd=repo,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(repo)},
        )
        assert writer.stdout.readline() == b"0\n"
        time.sleep(delay)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        array = load_state(str(tmp_path / "1"))["w"]
        assert len(array) == 400_000 and np.all(array == array[0])
        state = load_resume(str(tmp_path / "1"))
        assert np.all(state["w"] == state["n"])
    clean_temporaries(str(tmp_path))
    assert tree(tmp_path) == ["1.meta.json", "1.pdopt", "1.pdparams"]


def test_only_dead_processes_are_cleaned_up_after(tmp_path):
    mine = f".1.pdparams.{os.getpid()}.tmp"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [mine, f".1.pdparams.{dead.pid}.tmp", "notes.tmp", "1.pdparams"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert clean_temporaries(str(tmp_path)) == [names[1]]
    assert tree(tmp_path) == sorted([mine, "1.pdparams", "notes.tmp"])
    assert clean_temporaries(str(tmp_path / "absent")) == []


def test_a_snapshot_that_fails_does_not_end_the_run(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "run").write_text("a file where the folder should be")
    trainer = toys.trainer([CheckpointHook(str(tmp_path / "run"), 1)], epochs=2)
    with pytest.raises(CheckpointError) as error:
        trainer.run()
    assert trainer.state.iteration == 12
    rescued = tmp_path / "temp" / "ppdet_lite_rescued_run" / "model_rescued.pdparams"
    assert "cannot write the checkpoint" in str(error.value)
    assert f"weights were written to {rescued} instead" in str(error.value)
    np.testing.assert_array_equal(
        load_state(str(rescued))["head.weight"],
        trainer.state.weights_for_use()["head.weight"].numpy(),
    )


def test_when_nothing_can_be_written_anywhere_it_is_said(toys, tmp_path, monkeypatch):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(blocked))
    monkeypatch.setenv("HOME", str(blocked))
    trainer = toys.trainer([CheckpointHook(str(blocked), 1)], epochs=1)
    with pytest.raises(CheckpointError, match="could not be written anywhere .* are lost"):
        trainer.run()


# ---- resume --------------------------------------------------------------------------------------


def test_resume_without_pdopt_says_what_to_do(tmp_path):
    save_checkpoint(str(tmp_path), "8", {"w": np.zeros(1)}, {})
    save_checkpoint(str(tmp_path), "16", {"w": np.zeros(1)}, {}, {"p": 1})
    with pytest.raises(CheckpointError) as error:
        load_resume(str(tmp_path / "8"))
    text = str(error.value)
    assert "8.pdopt is missing" in text and f"pretrain_weights={tmp_path}/8.pdparams" in text
    assert "can be resumed from: 16" in text
    with pytest.raises(CheckpointError, match="no such checkpoint.*resumed from: 16"):
        load_resume(str(tmp_path / "24"))
    with pytest.raises(CheckpointError, match="there is no folder"):
        load_resume(str(tmp_path / "absent" / "24"))


def test_resume_of_a_foreign_or_damaged_file(tmp_path):
    paddle.save({"LR_Scheduler": {"last_epoch": 3}}, str(tmp_path / "1.pdopt"))
    with pytest.raises(CheckpointError, match="not written by ppdet_lite"):
        load_resume(str(tmp_path / "1"))
    save_checkpoint(str(tmp_path), "2", {"w": np.zeros(1)}, {}, {"p": np.zeros(999)})
    whole = (tmp_path / "2.pdopt").read_bytes()
    (tmp_path / "2.pdopt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="2.pdopt: .*(damaged|refused)"):
        load_resume(str(tmp_path / "2"))


def test_meta_absent_or_broken(tmp_path):
    assert read_meta(str(tmp_path / "nothing")) == {}
    (tmp_path / "x.meta.json").write_text("{")
    with pytest.raises(CheckpointError, match="x.meta.json"):
        read_meta(str(tmp_path / "x.pdparams"))
    for content in ("[1]", '{"class_names": "cats"}', '{"class_names": [1, 2]}'):
        (tmp_path / "x.meta.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"x.meta.json: found no 'class_names: \[...\]'"):
            read_meta(str(tmp_path / "x"))
    (tmp_path / "x.meta.json").write_text("{}")
    assert read_meta(str(tmp_path / "x")) == {}


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


def test_safetensors(tmp_path, monkeypatch):
    from safetensors.numpy import save_file

    save_file({"w": np.float32([1, 2])}, str(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(load_state(str(tmp_path / "m"))["w"], [1, 2])
    (tmp_path / "n.safetensors").write_bytes(b"no header here")
    with pytest.raises(CheckpointError, match="n.safetensors: damaged"):
        load_state(str(tmp_path / "n"))
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(CheckpointError, match="pip install safetensors"):
        load_state(str(tmp_path / "m.safetensors"))


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


def test_a_missing_file_lists_its_neighbours(tmp_path):
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
