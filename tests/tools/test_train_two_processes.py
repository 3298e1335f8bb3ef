"""`python -m paddle.distributed.launch tools/train.py`: two processes train one model."""

import json
import os
import subprocess
import sys

import paddle
import pytest

OPTIONS = """
use_gpu=false worker_num=0 seed=5 num_classes=2 pretrain_weights=null
width_mult=0.125 ResNet.depth=18 TrainDataset.allow_empty=true
epoch=2 snapshot_epoch=1 log_iter=1 TrainReader.batch_size=2 TrainReader.drop_last=false
LearningRate.schedulers.LinearWarmup.steps=2
TrainReader.batch_transforms.BatchRandomResize.target_size=[64,96]
EvalReader.sample_transforms.Resize.target_size=[96,96] EvalReader.batch_size=1
TrainDataset.image_dir=images EvalDataset.image_dir=images
TrainDataset.anno_path=annotations/train.json EvalDataset.anno_path=annotations/val.json
""".split()


def test_two_processes_train_and_evaluate_together(repo, tiny_coco, tmp_path):
    if paddle.is_compiled_with_cuda():
        pytest.skip("a Paddle built for GPUs starts one process per GPU; this is the CPU's test")
    config = repo / "configs" / "ppyolo" / "ppyolov2_r50vd_dcn_365e_coco.yml"
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    command += ["--log_dir", tmp_path / "logs", repo / "tools" / "train.py", "--eval"]
    command += ["-c", config, "-o", *OPTIONS, f"save_dir={tmp_path}"]
    command += [f"{part}Dataset.dataset_dir={tiny_coco}" for part in ("Train", "Eval")]
    done = subprocess.run(
        [str(part) for part in command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    first, second = ((tmp_path / "logs" / f"workerlog.{rank}").read_text() for rank in (0, 1))
    assert done.returncode == 0, first[-2000:] + second[-2000:]
    assert "total batch 4 (2 process(es) x 2 images x 1 accumulation)" in first
    assert "2 epochs x 2 steps = 4 iterations" in first  # 8 images, 4 per step
    assert first.count("Epoch: [") == 4 and first.count("evaluated 4 images") == 2
    assert "INFO" not in second and "Traceback" not in second
    folder = tmp_path / config.stem
    assert (folder / "best_model.pdparams").is_file() and (folder / "0.pdopt").is_file()
    meta = json.loads((folder / "model_final.meta.json").read_text())
    assert meta["iteration"] == 4 and meta["class_names"] == ["square", "circle"]
