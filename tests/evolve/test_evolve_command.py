"""The command on a tiny training: two trials, one of which fails, and a search that was killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ppdet_lite.commands.evolve import build_parser, main
from ppdet_lite.core.errors import ConfigError, DataError

CONFIG = """
_BASE_: [{repo}/configs/yolov4/yolov4_tiny_coco.yml]
num_classes: 2
norm_type: bn
use_gpu: false
width_mult: 0.125
seed: 0
epoch: 1
worker_num: 0
cpu_threads: 1
accumulate_steps: 1
save_dir: {out}
report: false
LearningRate: {{allow_long_warmup: true}}
TrainDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json,
               sample_num: 2, allow_empty: true}}
EvalDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json,
              sample_num: 2}}
TrainReader: {{batch_size: 1}}
"""
SIZES = [
    "TrainReader.sample_transforms.JitterCrop.target_size=[64,64]",
    "EvalReader.sample_transforms.Resize.target_size=[64,64]",
]


@pytest.fixture
def command(repo, tiny_coco, tmp_path):
    path = tmp_path / "tiny.yml"
    path.write_text(CONFIG.format(repo=repo, out=tmp_path / "out", data=tiny_coco))
    code = "from ppdet_lite.commands.main import main; main()"

    def make(*options, overrides=()):
        base = [sys.executable, "-c", code, "evolve", "-c", str(path), "--no-plot"]
        return [*base, *options, "-o", *SIZES, *overrides]

    make.folder = tmp_path / "out" / "tiny_evolve"
    return make


def arguments_of(command):
    return build_parser().parse_args(command[command.index("evolve") + 1 :])


def rows_of(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()][1:]


def test_trials_are_trainings_and_go_on_after_a_kill(command, repo):
    options = ("--hyp", "lr,jitter=0.0:0.4", "--generations")
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    process = subprocess.Popen(command(*options, "2"), env=environment, stderr=subprocess.DEVNULL)
    log = command.folder / "trial_0000" / "output.txt"
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (command.folder / "results.jsonl").exists()

    done = subprocess.run(command(*options, "2"), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = rows_of(command.folder)
    assert first["values"] == {"lr": 0.00261, "jitter": 0.3}
    assert second["values"] != first["values"]
    for row in (first, second):
        assert row["reason"] == ""
        assert 0 <= row["fitness"] <= 1
    assert "best: trial" in done.stdout
    assert "-o LearningRate.base_lr=" in done.stdout
    assert not list(command.folder.rglob("*.pdparams"))

    args = arguments_of(command(*options, "3", overrides=["epoch=2"]))
    with pytest.raises(DataError, match="epoch: found 1, allowed to go on with: 2"):
        main(args)
    assert len(rows_of(command.folder)) == 2


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--hyp", "lr", "--generations", "0"), "`generations`: found 0"),
        (("--hyp", "nothing"), "`hyp`: found nothing"),
        (("--hyp", "YOLOv4Loss.ignore_thresh=0.1:1.5"), r"ignore_thresh.*found 1\.5"),
        (("--hyp", "lr", "--gpus", "1,1"), "`gpus`: found 1,1"),
    ],
)
def test_options_that_cannot_work_are_named(command, options, found):
    with pytest.raises(ConfigError, match=found):
        main(arguments_of(command(*options)))
    assert not list(command.folder.glob("trial_*"))
