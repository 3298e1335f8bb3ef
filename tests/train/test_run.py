"""Whole runs from a configuration, with the real reader and a narrow PP-YOLOv2."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import CheckpointError, ConfigError, TrainingError, UserError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.transforms.transform import Transform
from ppdet_lite.device.ranks import Ranks
from ppdet_lite.evaluate import evaluator
from ppdet_lite.modeling.detectors.yolov3 import YOLOv3
from ppdet_lite.train import data
from ppdet_lite.train.run import run_training, synchronizes_norms
from ppdet_lite.weights.checkpoint import load_resume, read_meta, save_checkpoint
from ppdet_lite.weights.files import load_state


def test_a_run_leaves_weights_metrics_and_a_log(config):
    state = run_training(config("snapshot_epoch=1"), evaluate=True, use_vdl=True)
    assert state.iteration == 4 and state.epoch == 2
    names = {p.name for p in config.folder.iterdir()}
    stems = ["0", "model_final"] + (["best_model"] if state.best else [])
    files = {f"{s}{suffix}" for s in stems for suffix in (".pdparams", ".pdopt", ".meta.json")}
    assert names == files | {"train.log", "results.csv", "vdl"}
    meta = read_meta(str(config.folder / "model_final"))
    assert meta["class_names"] == ["square", "circle"] and meta["config"] == "tiny"
    assert meta["category_ids"] == [3, 7]
    assert len(meta["thresholds"]) == 2 and all(0 <= score <= 1 for score in meta["thresholds"])
    assert meta["metrics_epoch"] == 1 and "bbox/AP" in meta["metrics"]
    averaged = state.weights_for_use()
    saved = load_state(str(config.folder / "model_final"))
    assert list(saved) == list(averaged)
    assert all(np.array_equal(saved[key], averaged[key].numpy()) for key in saved)
    log = (config.folder / "train.log").read_text()
    assert len(re.findall("Saved .*model_final", log)) == 1  # written again with the evaluation
    for part in (
        "results.csv: the numbers",
        "Seed 7",
        "8 images",
        "0.005 x 4 / 96 = 0.000208333",
        "2 epochs x 2 steps = 4 iterations, 1 of them warm-up",
        "Epoch: [1] [2/2]",
        "loss_iou_aware:",
    ):
        assert part in log, part


def test_a_second_run_in_the_same_folder_is_refused(config):
    config.folder.mkdir(parents=True)
    hold = (
        "import fcntl, sys; log = open(sys.argv[1], 'a'); fcntl.lockf(log, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(config.folder / "train.log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        other.stdout.readline()
        with pytest.raises(UserError, match="another training run is writing to .*save_dir"):
            run_training(config("epoch=1"))
    finally:
        other.communicate()
    assert run_training(config("epoch=1")).epoch == 1


def test_pretrained_weights_and_partial_ones(config, tmp_path):
    run_training(config("epoch=1"))
    final = config.folder / "model_final.pdparams"
    state = run_training(
        config("epoch=1", f"pretrain_weights={final}", "save_dir=" + str(tmp_path))
    )
    log = (tmp_path / "tiny" / "train.log").read_text()
    total = len(state.model.state_dict())
    assert f"{total} of the model's {total} tensors loaded" in log
    with pytest.raises(CheckpointError, match="no weights at .*nothing.pdparams"):
        run_training(config(f"pretrain_weights={tmp_path}/nothing.pdparams"))
    with pytest.raises(CheckpointError, match="offline.*pretrain_weights=null starts"):
        run_training(config("pretrain_weights=https://127.0.0.1/a.pdparams", "offline=true"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_is_the_uninterrupted_one(config, tmp_path, workers):
    straight = run_training(config("epoch=3", f"save_dir={tmp_path / 'straight'}"))
    run_training(config("epoch=3", "snapshot_epoch=1", f"worker_num={workers}"))
    resumed = run_training(
        config("epoch=3", f"worker_num={workers}"), resume=str(config.folder / "0")
    )
    assert not multiprocessing.active_children()
    expected, found = straight.state_dict(), resumed.state_dict()
    assert found["progress"] == expected["progress"]
    for part in ("model", "optimizer"):
        for key, value in expected[part].items():
            np.testing.assert_array_equal(found[part][key], value, err_msg=key)


def test_resume_auto_takes_the_newest_whole_checkpoint(config, capsys):
    cfg = config("epoch=2", "snapshot_epoch=1", "save_format=safetensors")
    assert run_training(cfg, resume="auto").epoch == 2
    assert "No checkpoint in " in capsys.readouterr().err
    assert (config.folder / "model_final.safetensors").is_file()
    path = config.folder / "model_final.pdparams"
    path.write_bytes(path.read_bytes()[:-9])
    assert run_training(config("epoch=3"), resume="auto").epoch == 3
    printed = capsys.readouterr().err
    assert "model_final.pdparams: damaged" in printed
    assert f"Resumed from {config.folder}/0: epoch 0, step 2" in printed


def test_another_number_of_steps_goes_on_by_epochs_done(config):
    run_training(config("epoch=1"))
    state = run_training(
        config("epoch=3", "TrainReader.batch_size=2"), resume=str(config.folder / "model_final")
    )
    assert state.iteration == 12  # 3 epochs of 4 steps, the first of which were 2
    log = (config.folder / "train.log").read_text()
    assert "after 1 epochs done: iteration 2 -> 4, 2 -> 4 steps per epoch" in log


def test_a_damaged_state_is_refused_before_the_data_is_read(config):
    config.folder.mkdir(parents=True)
    save_checkpoint(str(config.folder), "damaged", {}, {}, {"model": {}, "optimizer": 1})
    with pytest.raises(CheckpointError, match="damaged.pdopt: optimizer: found 1, allowed: a map"):
        run_training(
            config("TrainDataset.dataset_dir=nowhere"), resume=str(config.folder / "damaged")
        )


def test_mixed_precision_on_the_cpu_is_refused(config):
    with pytest.raises(ConfigError, match="needs a GPU"):
        run_training(config(), amp=True)


@register
class BreakBoxes(Transform):
    """A user's transform with a defect: one image's boxes become infinitely large."""

    def __init__(self):
        pass

    def __call__(self, sample, context=None):
        """Breaks train_3.jpg."""
        if str(sample["im_file"]).endswith("train_3.jpg"):
            sample = {**sample, "gt_score": sample["gt_score"] * np.float32(np.inf)}
        return sample


def test_the_image_files_of_a_bad_batch_are_named(config):
    cfg = config("worker_num=0")
    cfg["TrainReader"]["sample_transforms"].append({"BreakBoxes": {}})
    with pytest.raises(TrainingError) as error:
        run_training(cfg)
    assert "train_3.jpg" in str(error.value) and "the loss is not finite: loss_" in str(error.value)
    assert "train_3.jpg" in (config.folder / "train.log").read_text()


def tool(repo, *arguments, **kwargs):
    return subprocess.Popen(
        [sys.executable, str(repo / "tools" / "train.py"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        **kwargs,
    )


def test_help_teaches_without_paddle(repo):
    code = (
        f"import sys, runpy; sys.argv = ['train.py', '--help']\n"
        f"try:\n    runpy.run_path({str(repo / 'tools' / 'train.py')!r}, run_name='__main__')\n"
        f"except SystemExit: pass\n"
        f"assert 'paddle' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for part in ("--resume", "--eval", "--amp", "--use_vdl", "accumulate_steps", "-o seed=0"):
        assert part in result.stdout


def test_ctrl_c_at_the_terminal_and_going_on(config, repo):
    arguments = ["-c", config.path, "-o", *config.small, "epoch=1000", "log_iter=1"]
    process = tool(repo, *arguments)
    seen = ""
    for line in process.stdout:
        seen += line
        if "Epoch: [1]" in line:
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, seen + rest
    assert "Traceback" not in rest and str(config.folder / "interrupted") in rest
    progress = load_resume(str(config.folder / "interrupted"))["progress"]
    assert progress["iteration"] == 2 * progress["epoch"] + progress["step_in_epoch"] > 2

    epochs = progress["epoch"] + 1
    arguments = ["-c", config.path, "-o", *config.small, f"epoch={epochs}", "-r"]
    process = tool(repo, *arguments, config.folder / "interrupted")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"iteration {progress['iteration']}" in output
    assert read_meta(str(config.folder / "model_final"))["iteration"] == 2 * epochs


def test_kill_9_in_the_middle_leaves_a_run_to_go_on_with(config, repo):
    arguments = [
        "-c",
        config.path,
        "-o",
        *config.small,
        "epoch=1000",
        "snapshot_epoch=1",
        "log_iter=1",
    ]
    process = tool(repo, *arguments)
    for line in process.stdout:
        if "Epoch: [2]" in line:
            break
    time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    for path in config.folder.glob("*.pdparams"):
        assert load_state(str(path)) and load_resume(str(path))
    newest = max(int(p.stem) for p in config.folder.glob("*.pdopt"))
    state = run_training(config(f"epoch={newest + 2}"), resume=str(config.folder / str(newest)))
    assert state.iteration == 2 * (newest + 2)
    assert not list(config.folder.glob(".*.tmp"))


@pytest.mark.parametrize(
    "norm_type, device, processes, wanted",
    [
        ("sync_bn", "gpu:0", 8, True),
        ("sync_bn", "gpu:0", 1, False),
        ("sync_bn", "cpu", 2, False),
        ("bn", "gpu:0", 8, False),
    ],
)
def test_norms_are_synchronized_between_gpus_when_the_config_says_so(
    norm_type, device, processes, wanted
):
    assert synchronizes_norms(norm_type, device, Ranks(0, processes)) is wanted


def test_pixels_may_be_normalized_on_the_device(config, monkeypatch, tmp_path):
    """The road of a run on a GPU, walked on the CPU: the same network in the end, also where the
    batches of a step lie in the memory of workers.
    """
    found, kinds = [], []
    forward = YOLOv3.forward

    def watched(self, inputs):
        kinds.append(inputs["image"].dtype)
        return forward(self, inputs)

    monkeypatch.setattr(YOLOv3, "forward", watched)
    for on_device in (False, True):
        for module in (data, evaluator):
            monkeypatch.setattr(module, "normalizes_on_device", lambda answer=on_device: answer)
        options = ["epoch=1", "TrainReader.batch_size=2", "accumulate_steps=2"]
        options += [f"worker_num={2 * on_device}", f"save_dir={tmp_path / str(on_device)}"]
        cfg = config(*options)
        state = run_training(cfg, evaluate=True)
        found.append({key: value.numpy() for key, value in state.model.state_dict().items()})
    assert set(kinds) == {paddle.float32}
    for key, value in found[0].items():
        np.testing.assert_allclose(found[1][key], value, rtol=1e-3, atol=1e-4, err_msg=key)
