"""Searches hyper-parameters: short trainings, each a mutation of the fittest so far."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppdet_lite.cli.tool import add_offline, config_from_args, config_parser

if TYPE_CHECKING:
    from ppdet_lite.evolve.results import Row

EXAMPLES = """  ppdet evolve -c yolov4_cspdarknet53_coco \\
      --hyp lr,momentum,iou_thresh,iou_loss_weight --generations 100 -o epoch=27
  ... --hyp lr=0.0005:0.01,TrainReader.batch_size=4:16    bounds of one's own, dotted keys
  ... --gpus 0,1,2,3          four trials side by side
  ... --sampler optuna        Optuna's estimator in the place of mutation
  The same command again goes on where the search was stopped or killed, also with more
  --generations; with an -o that changes the fitness it is refused.

Every trial is a training with --eval; its fitness is the best evaluation. -o holds for all of them,
for instance a shorter training (the paper searched in the first tenth). Written are results.jsonl
(a line per trial: values, fitness or reason of the failure), search.png, and a folder per trial.
"""
SAMPLERS = ("genetic", "optuna")


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    add_offline(parser)
    add = parser.add_argument
    text = """names or dotted keys with bounds, name=low:high; without bounds: lr momentum
weight_decay ema_decay iou_thresh ignore_thresh iou_loss_weight obj_normalizer label_smoothing
jitter hue saturation exposure mosaic batch_size, as far as the configuration has them; entries of
a list keep their ratio, and bounds are those of the largest"""
    add("--hyp", required=True, metavar="NAMES", help=text)
    text = "trials in all, those of an earlier call included (default: 30)"
    add("--generations", type=int, default=30, metavar="N", help=text)
    text = "how values are chosen (default: genetic)"
    add("--sampler", choices=SAMPLERS, default=SAMPLERS[0], help=text)
    add("--gpus", default="", metavar="IDS", help="one trial at a time on each, as in 0,1")
    add("--seed", type=int, default=0, metavar="N", help="of the mutations (default: 0)")
    add("--output", type=Path, metavar="FOLDER", help="default: output/<config>_evolve")
    text = "leave the checkpoints of the trials where they are"
    add("--keep-weights", action="store_true", help=text)
    add("--no-plot", action="store_true", help="write no search.png (which needs matplotlib)")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.core.errors import ConfigError
    from ppdet_lite.core.workspace import load_config

    cfg = config_from_args(args)
    if args.generations < 1:
        raise ConfigError(f"`generations`: found {args.generations}, allowed: 1 or more")
    from ppdet_lite.evolve.conditions import conditions_of
    from ppdet_lite.evolve.genes import genes_of, overrides_of
    from ppdet_lite.evolve.plot import draw_search
    from ppdet_lite.evolve.results import Results
    from ppdet_lite.evolve.samplers import GeneticSampler, OptunaSampler
    from ppdet_lite.evolve.search import search
    from ppdet_lite.evolve.training import TrainingObjective

    genes = genes_of(cfg, args.hyp)
    for side in ("low", "high"):  # both bounds must be values that the classes take
        ends = {gene.name: gene.fitted(getattr(gene, side)) for gene in genes}
        load_config(args.config, [*args.opt, *overrides_of(genes, ends)])
    sampler: Any = GeneticSampler(seed=args.seed)
    if args.sampler == "optuna":
        sampler = OptunaSampler(args.seed)
    folder = args.output or Path(f"{cfg.output_folder}_evolve")
    with _only_one(folder):
        results = Results(folder / "results.jsonl", cfg.name, genes, conditions_of(cfg))
        objective = TrainingObjective(Path(args.config), args.opt, genes, folder, args.keep_weights)
        devices = [gpu.strip() for gpu in args.gpus.split(",")]
        if len(set(devices)) < len(devices):
            raise ConfigError(f"`gpus`: found {args.gpus}, allowed: each number once")
        if not args.no_plot:
            draw_search(results, genes, folder / "search.png")  # before hours of work

        def told(row: Row) -> None:
            _tell(row)
            if not args.no_plot:
                draw_search(results, genes, folder / "search.png")

        search(genes, sampler, objective, results, args.generations, devices, told)
    best = results.ranked()[:1]
    for row in best:
        print(f"best: trial {row.trial}, {row.fitness:.4f}")
        print("  -o " + " ".join(overrides_of(genes, row.values)))
    print(f"{results.path}: {len(results.rows)} trials")


def _only_one(folder: Path) -> Any:
    """Context in which this folder's search is this process'."""
    import contextlib

    from ppdet_lite.core.errors import UserError
    from ppdet_lite.utils.logger import FileInUse, add_log_file, remove_log_file

    try:
        handler = add_log_file(str(folder / "evolve.log"), exclusive=True)
    except FileInUse:
        raise UserError(f"another search is writing to {folder}; set another `output`") from None
    stack = contextlib.ExitStack()
    stack.callback(remove_log_file, handler)
    return stack


def _tell(row: Row) -> None:
    from ppdet_lite.utils.logger import get_logger

    values = " ".join(f"{name}={value:g}" for name, value in row.values.items())
    end = f"{row.fitness:.4f}" if row.fitness is not None else f"failed: {row.reason}"
    get_logger().info("trial %d (%.0f s): %s: %s", row.trial, row.seconds, values, end)
