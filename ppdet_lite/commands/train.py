"""Trains a detector. Checkpoints and train.log go to output/<name of the config file>/."""

import argparse
from typing import TYPE_CHECKING

from ppdet_lite.cli.tool import add_offline, announce_config, config_from_args, config_parser
from ppdet_lite.core.errors import ConfigError, UserError

if TYPE_CHECKING:
    from ppdet_lite.core.config import Config

EXAMPLES = """  ppdet train -c ppyolov2_r50vd_dcn_365e_coco --eval
  ... --data my_photos                   a folder of labeled images: COCO, VOC, YOLO, labelme, CSV;
                                         classes, batch and schedule follow (docs/your_data.md)
  ... -o TrainReader.batch_size=4        fits a smaller GPU; the learning rate follows the batch
  ... -o accumulate_steps=3              three batches make one step: the memory of one, the
                                         gradient of three
  ... -o seed=0                          repeat a run exactly (on a CPU: bit by bit)
  ... -o pretrain_weights=my.pdparams    start from a file, or from published weights by their name
                                         (ppdet weights list); null: from random weights
  ... -r output/ppyolov2_r50vd_dcn_365e_coco/interrupted
                                         go on after Ctrl-C, with the same -c and -o
  ... -r auto                            go on from the newest whole checkpoint of this run
  ... --amp -o amp_level=O2              mixed precision
  ... --eval -o patience=30              stop when 30 epochs bring no better evaluation
  ... -o loggers=[tensorboard,wandb]     curves for these, visualdl or mlflow
  ... --print-config                     show every value and where it comes from; do not train
  python -m paddle.distributed.launch --gpus 0,1,2,3 $(which ppdet) train -c ...
                                         on 4 GPUs

where to look: the terminal shows a bar, or a short line every log_iter steps; train.log in the
output folder has every line in full, results.csv a row of numbers every log_iter steps. index.html
beside them is the page of the run, with curves, errors and images; it is written at evaluations and
at the end, and any time, also for a run that goes on or was killed, by
  ppdet report output/<name of the config file>
Training anew in the folder moves those of the earlier run into previous/1, 2, ...
Beside them lie the checkpoints: model_final, best_model (with
--eval), the newest keep_checkpoints of <epoch> every snapshot_epoch, interrupted after Ctrl-C; of
each .pdparams (weights to use, averaged with EMA), .pdopt (what -r needs) and .meta.json (class
names, metrics, sums of the files); with -o save_format=safetensors also .safetensors, weights to
exchange with others. docs/training.md says more.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = config_parser(__doc__, EXAMPLES)
    add_offline(parser)
    add = parser.add_argument
    text = """go on from this checkpoint: weights, optimizer, rate, EMA, best AP and position; auto:
from the newest whole one of this run, if there is one"""
    add("-r", "--resume", metavar="CHECKPOINT", help=text)
    text = """train on this folder of labeled images instead of the configuration's data; what
depends on the data is set from it, printed, and saved as YAML beside the run; implies --eval"""
    add("--data", metavar="FOLDER", help=text)
    text = "the way to read it where there are several: coco, voc, yolo, csv, labelme, or as listed"
    add("--data_format", metavar="NAME", help=text)
    text = "evaluate on EvalDataset every snapshot_epoch and keep best_model"
    add("--eval", dest="evaluate", action="store_true", help=text)
    text = "mixed precision (keys amp_level, init_loss_scaling, master_grad)"
    add("--amp", action="store_true", help=text)
    text = "write losses, metrics and a few training images for VisualDL"
    add("--use_vdl", action="store_true", help=text)
    text = "of the VisualDL log (default: vdl beside train.log)"
    add("--vdl_log_dir", metavar="FOLDER", help=text)
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    if args.data is None and args.data_format is not None:
        raise ConfigError(f"`data_format`: found {args.data_format}, allowed: none without `data`")
    cfg = config_from_args(args) if args.data is None else _config_for_data(args)
    from ppdet_lite.train.run import run_training

    run_training(
        cfg,
        evaluate=args.evaluate or args.data is not None,
        resume=args.resume,
        amp=True if args.amp else None,
        use_vdl=args.use_vdl,
        vdl_log_dir=args.vdl_log_dir,
    )


def _config_for_data(args: argparse.Namespace) -> "Config":
    """The configuration for the folder of --data, printed and saved."""
    from ppdet_lite.core.workspace import load_config
    from ppdet_lite.device.ranks import launched_rank
    from ppdet_lite.train.own_data.run_config import config_for_folder

    if args.resume:
        raise UserError(
            "`resume` goes on with the file that --data saved: -c output/NAME/NAME.yml, "
            "without `data`"
        )
    recipe = load_config(args.config, args.opt)
    own = config_for_folder(recipe, args.data, args.data_format, save=not args.print_config)
    announce_config(own.config, args.print_config)
    if launched_rank() == 0:
        print(f"{own.report()}\n", flush=True)
    return own.config
