#!/usr/bin/env python3
"""Trains several networks with one budget and prints what each has learned.

The budget is first the same number of images, then the same time: every network gets the epochs
that fill the time of the slowest, with its schedule stretched over them. Time is that of the CPU in
training steps, one thread, so that other work on the machine hardly counts.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ppdet_lite.benchmark.model_info import measure  # noqa: E402
from ppdet_lite.benchmark.tables import markdown_table  # noqa: E402
from ppdet_lite.cli.tool import run_tool  # noqa: E402
from ppdet_lite.core.config import Config  # noqa: E402
from ppdet_lite.core.errors import DataError  # noqa: E402
from ppdet_lite.core.workspace import load_config  # noqa: E402
from ppdet_lite.device.ranks import init_ranks  # noqa: E402
from ppdet_lite.device.select import prepare_device  # noqa: E402
from ppdet_lite.export.options import input_size  # noqa: E402
from ppdet_lite.modeling.build_detector import build_detector  # noqa: E402
from ppdet_lite.train.hooks.base import Hook, Run, StepRecord  # noqa: E402
from ppdet_lite.train.run import build_trainer  # noqa: E402
from ppdet_lite.utils.files import replacing  # noqa: E402

CONFIGS = (
    "configs/ppyolo/ppyolov2_r18vd_dcn_demo.yml",
    "configs/yolov4/yolov4_cspdarknet53_demo.yml",
    "configs/asff/yolov3_asff_demo.yml",
    "configs/yolox/upstream/yolox_s_upstream_demo.yml",
)
EPILOG = """examples:
  python tools/make_demo_data.py
  python tools/dev/learning_speed.py --output output/learning_speed.json
  ... --seeds 0 1 2       three runs of each, and their range
  ... -c a.yml b.yml      other configurations, of one data set

Runs that the output file already has are not repeated, so that a stopped command goes on.
"""


class Finished(NamedTuple):
    """A finished run.

    Attributes:
        images, seconds: seen in training; CPU time of the training steps.
        curve: AP and AP50 in percent after each epoch.
    """

    config: str
    seed: int
    epochs: int
    images: int
    seconds: float
    curve: list[list[float]]


class LearningCurve(Hook):
    """Counts images and CPU time of the training steps; collects the results of the epochs."""

    def __init__(self) -> None:
        self.images, self.seconds, self._since = 0, 0.0, 0.0
        self.curve: list[list[float]] = []

    def before_epoch(self, run: Run) -> None:
        """Starts the clock."""
        self._since = time.process_time()

    def after_step(self, run: Run, record: StepRecord) -> None:
        """The evaluation comes after the last step, and is not counted."""
        now = time.process_time()
        self.images, self.seconds, self._since = (
            self.images + record.images,
            self.seconds + now - self._since,
            now,
        )

    def after_epoch(self, run: Run) -> None:
        """Called behind the evaluation of the epoch."""
        metrics = (run.state.last_evaluation or {})["metrics"]
        self.curve.append([100 * metrics["bbox/AP"], 100 * metrics["bbox/AP50"]])


def train(path: str, seed: int, epochs: int, overrides: list[str]) -> Finished:
    """Trains `path` in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        own = [f"seed={seed}", f"epoch={epochs}", "snapshot_epoch=1", f"save_dir={folder}"]
        cfg = load_config(path, ["use_gpu=false", "cpu_threads=1", *overrides, *own])
        device = prepare_device(cfg.settings.use_gpu, cfg.settings.cpu_threads)
        trainer = build_trainer(cfg, device, init_ranks(), evaluate=True)
        curve = LearningCurve()
        trainer.hooks = [*trainer.hooks, curve]
        trainer.run()
    return Finished(Path(path).stem, seed, epochs, curve.images, curve.seconds, curve.curve)


class Runs:
    """The runs of an output file, trained when they are asked for first."""

    def __init__(self, path: Path, overrides: list[str]):
        self.path, self.overrides = path, overrides
        self.finished: list[Finished] = []
        if path.is_file():
            try:
                self.finished = [Finished(**run) for run in json.loads(path.read_text())]
            except (ValueError, TypeError) as error:
                raise DataError(f"{path}: not written by this tool ({error})") from None

    def get(self, config: str, seed: int, epochs: int) -> Finished:
        """The run with these settings."""
        wanted = (Path(config).stem, seed, epochs)
        for run in self.finished:
            if (run.config, run.seed, run.epochs) == wanted:
                return run
        self.finished.append(train(config, seed, epochs, self.overrides))
        with replacing(self.path) as stream:
            stream.write(json.dumps([run._asdict() for run in self.finished]).encode())
        return self.finished[-1]


def parameters(cfg: Config) -> list[str]:
    """Values of the network in millions, and GFLOPs of an image."""
    total = measure(build_detector(cfg), *input_size(cfg)).total
    return [f"{total.values / 1e6:.2f}", f"{total.multiply_adds / 1e9:.2f}"]


def spread(values: list[float]) -> str:
    """A mean, with the range where there are several."""
    mean = sum(values) / len(values)
    return f"{mean:.1f}" + (f" ({min(values):.1f} to {max(values):.1f})" if values[1:] else "")


def table(runs: dict[str, list[Finished]], facts: dict[str, list[str]]) -> list[str]:
    """A row for each network, in the order of their AP50."""
    rows = []
    for config, own in sorted(runs.items(), key=lambda item: -_last(item[1], 1)):
        middle = [run.curve[(len(run.curve) - 1) // 2][1] for run in own]
        final = [[run.curve[-1][column] for run in own] for column in (0, 1)]
        seconds = sum(run.seconds for run in own) / len(own)
        numbers = [str(own[0].epochs), str(own[0].images), f"{seconds:.0f}"]
        rows.append(
            [Path(config).stem, *facts[config], *numbers, *map(spread, [middle, *final[::-1]])]
        )
    titles = ["config", "M params", "GFLOPs", "epochs", "images", "CPU s"]
    return markdown_table([*titles, "AP50 half way", "AP50", "AP"], rows)


def _last(runs: list[Finished], column: int) -> float:
    return sum(run.curve[-1][column] for run in runs) / len(runs)


def main(args: argparse.Namespace) -> Optional[int]:
    """Prints both tables."""
    runs = Runs(args.output, args.opt)
    facts: dict[str, Any] = {config: parameters(load_config(config)) for config in args.config}
    same: dict[str, list[Finished]] = {
        config: [runs.get(config, seed, args.epochs) for seed in args.seeds]
        for config in args.config
    }
    print("\nThe same images:\n\n" + "\n".join(table(same, facts)), flush=True)
    if args.same_images_only:
        return None
    slowest = max(run[0].seconds for run in same.values())
    epochs = {c: max(1, round(args.epochs * slowest / run[0].seconds)) for c, run in same.items()}
    timed = {c: [runs.get(c, seed, epochs[c]) for seed in args.seeds] for c in args.config}
    print("\nThe same time:\n\n" + "\n".join(table(timed, facts)))
    return None


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    text = "YAML configurations (default: the small networks of the demo set)"
    add("-c", "--config", nargs="+", default=list(CONFIGS), metavar="FILE", help=text)
    add("-o", "--opt", nargs="+", default=[], metavar="KEY=VALUE", help="change keys of all")
    add("--epochs", type=int, default=6, metavar="N", help="of the same images (default: 6)")
    add("--seeds", type=int, nargs="+", default=[0], metavar="N", help="a run each (default: 0)")
    add("--same-images-only", action="store_true", help="leave out the runs of the same time")
    add("--output", type=Path, required=True, metavar="JSON", help="the file of results")
    return parser


if __name__ == "__main__":
    run_tool(main, build_parser())
