"""What the command line tools share: the `-c`/`-o` options and how errors end a run.

Nothing here imports paddle, so `--help` answers at once.
"""

import argparse
import os
import sys
import warnings
from typing import Callable, Optional

from ppdet_lite.core.config import Config, load_config
from ppdet_lite.core.errors import UserError

_OVERRIDE_HELP = """change keys, values in YAML: -o TrainReader.batch_size=4 num_classes=3
'TrainReader.sample_transforms.Mixup.alpha=1.0' LearningRate.schedulers.0.gamma=0.2"""


def config_parser(
    description: str, examples: str = "", config_required: bool = True
) -> argparse.ArgumentParser:
    """A parser with the options that every tool with a configuration has.

    Args:
        config_required: whether `-c` must be given.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-c",
        "--config",
        required=config_required,
        metavar="FILE",
        help="YAML configuration, for instance configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml",
    )
    parser.add_argument(
        "-o",
        "--opt",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help=_OVERRIDE_HELP,
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print the resolved configuration with the origin of every value, and stop",
    )
    return parser


def config_from_args(args: argparse.Namespace) -> Config:
    """Reads and checks the configuration; prints remarks about it, and all of it on request."""
    cfg = load_config(args.config, args.opt)
    if args.print_config:
        from ppdet_lite.core.show import describe_config

        print(describe_config(cfg))
        raise SystemExit(0)
    if os.environ.get("PADDLE_TRAINER_ID", "0") == "0":
        for note in cfg.notes:
            print(f"note: {note}", file=sys.stderr)
        if cfg.unused:
            print(f"note: keys without effect here: {', '.join(cfg.unused)}", file=sys.stderr)
    return cfg


def run_tool(main: Callable[[], Optional[int]]) -> None:
    """Runs a tool's `main` and ends the process.

    Exit codes: 0 or what main returns; 2 for an error of the user or a missing package, printed
    without a traceback; 130 after Ctrl-C; 141 when the reader of a pipe has gone.
    """
    warnings.filterwarnings("ignore", message="No ccache found")  # Paddle's, for C++ builds only
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "ppdet_lite"):
            raise
        print(
            f"error: the Python package '{package}' is missing in {sys.executable}; install what "
            "is needed with: pip install -r requirements.txt (README.md: Paddle for a GPU)",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
