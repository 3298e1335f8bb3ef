"""Two configurations in one process give to the bit what each gives in a process of its own.

They differ in everything that could be kept in a wrong place: number of classes, anchors, kind of
norm, losses, post-processing, sizes, optimizer, average, reader.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parent.parent
STEPS = 3

FIRST = """
_BASE_: [{repo}/configs/ppyolo/ppyolov2_r18vd_dcn_demo.yml]
num_classes: 2
width_mult: 0.125
TrainDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json}}
EvalDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/val.json}}
TrainReader: {{batch_size: 2}}
"""
SECOND = """
_BASE_: [{repo}/configs/yolov3/yolov3_darknet53_270e_coco.yml]
num_classes: 1
width_mult: 0.125
pretrain_weights: null
TrainDataset: {{dataset_dir: {data}, image_dir: images, anno_path: {folder}/circles.json,
               allow_empty: true}}
EvalDataset: {{dataset_dir: {data}, image_dir: images, anno_path: {folder}/circles.json}}
YOLOv3Head: {{anchors: [[9, 9], [14, 12], [20, 24], [28, 26], [36, 36], [50, 40]],
             anchor_masks: [[4, 5], [2, 3], [0, 1]]}}
YOLOv3Loss: {{label_smooth: true, ignore_thresh: 0.6}}
LearningRate: {{schedulers: [!CosineDecay {{}}, !LinearWarmup {{start_factor: 0.5, steps: 5}}]}}
TrainReader: {{batch_size: 2}}
"""
SIZES = {
    "first": [
        "seed=11",
        "TrainReader.batch_transforms.BatchRandomResize.target_size=[64]",
        "EvalReader.sample_transforms.Resize.target_size=[64,64]",
    ],
    "second": [
        "seed=12",
        "TrainReader.batch_transforms.BatchRandomResize.target_size=[32,96]",
        "EvalReader.sample_transforms.Resize.target_size=[96,64]",
    ],
}


class Run:
    """One configuration at work, step by step; `seen` collects what came out."""

    def __init__(self, name: str, folder: Path):
        from ppdet_lite.core.workspace import load_config
        from ppdet_lite.device.ranks import SINGLE_PROCESS
        from ppdet_lite.train.run import build_trainer

        common = ["use_gpu=false", "worker_num=0", f"save_dir={folder}"]
        self.cfg = load_config(folder / f"{name}.yml", [*common, *SIZES[name]])
        self.seen = {}
        self.trainer = build_trainer(self.cfg, "cpu", SINGLE_PROCESS)
        self.trainer.state.model.train()
        self.batches = self.trainer.reader.batches(0)

    def step(self) -> None:
        """One optimizer step."""
        batch = next(self.batches)
        record = self.trainer._step([batch], 0.0)
        state = self.trainer.state
        state.iteration += 1
        self.seen[f"losses{state.iteration}"] = np.array(list(record.losses[0].values()))
        self.seen[f"image{state.iteration}"] = batch["image"]

    def evaluate(self) -> None:
        """The metric and the detections behind it."""
        from ppdet_lite.evaluate.evaluator import Evaluator

        evaluator = Evaluator(self.cfg)
        with self.trainer.state.evaluation_weights() as model:
            results = evaluator.run(model)
        self.seen["metric"] = np.array(list(results.values()))
        self.seen["owners"], self.seen["detections"] = evaluator.metric.arrays()

    def finish(self) -> dict:
        """Everything, weights included."""
        weights = self.trainer.state.weights_for_use()
        self.seen.update({f"weights/{key}": value.numpy() for key, value in weights.items()})
        return self.seen


def main(names: list, folder: Path) -> None:
    """The configurations `names` side by side; writes what came out, one file for each."""
    from ppdet_lite.device.select import use_cpu_cores

    use_cpu_cores(1)  # sums are the same to the bit for the same number of threads only
    runs = {name: Run(name, folder) for name in names}
    for _ in range(STEPS):
        for run in runs.values():
            run.step()
    for run in runs.values():
        run.evaluate()
    for name, run in runs.items():
        np.savez(folder / f"{name}_among_{len(names)}.npz", **run.finish())


def test_interleaved_runs_equal_lonely_ones(tmp_path, tiny_coco):
    content = json.loads((tiny_coco / "annotations" / "train.json").read_text())
    content["categories"] = [c for c in content["categories"] if c["name"] == "circle"]
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 7]
    (tmp_path / "circles.json").write_text(json.dumps(content))
    for name, text in (("first", FIRST), ("second", SECOND)):
        text = text.format(repo=REPO, data=tiny_coco, folder=tmp_path)
        (tmp_path / f"{name}.yml").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, str(tmp_path), *names],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for names in (["first"], ["second"], ["first", "second"])
    ]
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    for name in SIZES:
        alone = np.load(tmp_path / f"{name}_among_1.npz")
        beside = np.load(tmp_path / f"{name}_among_2.npz")
        assert set(beside.files) == set(alone.files)
        for key in alone.files:
            np.testing.assert_array_equal(beside[key], alone[key], err_msg=f"{name}: {key}")
        assert len(alone["detections"])


if __name__ == "__main__":
    main(sys.argv[2:], Path(sys.argv[1]))
