#!/usr/bin/env python3
"""Measures from which size on a convolution is faster in the form that exports with --target cpu
give it, with oneDNN on this machine."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ppdet_lite.cli.tool import run_tool  # noqa: E402
from ppdet_lite.core.errors import ConfigError  # noqa: E402

EPILOG = """examples:
  python tools/benchmark_layers.py                       all of it, about 5 minutes on two cores
  ... --kinds winograd --channels 96 128 --sides 20 40   some layers
  ... --repeats 30                                       more rounds, of which the fastest counts

how to use it: for a processor that is not like the one the limits in
ppdet_lite/export/rewrite/cpu_forms.py were measured on (two cores with AVX2), it says whether they
are right there. What a whole network gains says tools/benchmark.py --engines onednn
onednn_target_cpu.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    kinds = ["winograd", "deformable"]
    add("--kinds", nargs="+", choices=kinds, default=kinds, help="which layers (default: both)")
    add("--channels", nargs="+", type=int, default=[64, 128, 256, 512], metavar="N")
    add("--sides", nargs="+", type=int, default=[10, 20, 40, 80], metavar="CELLS", help="of maps")
    add("--repeats", type=int, default=10, metavar="N", help="rounds per layer (default: 10)")
    args = parser.parse_args()
    if min(args.channels + args.sides + [args.repeats]) < 1:
        raise ConfigError("--channels, --sides and --repeats: 1 or more")
    from ppdet_lite.benchmark.layer_benchmark import benchmark_layers, report

    cases = benchmark_layers(
        args.kinds,
        args.channels,
        args.sides,
        args.repeats,
        lambda text: print(text, file=sys.stderr),
    )
    print(report(cases))


if __name__ == "__main__":
    run_tool(main)
