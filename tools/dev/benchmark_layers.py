#!/usr/bin/env python3
"""Measures from which size on a convolution is faster in the form that exports with --target cpu
give it, with oneDNN on this machine."""

# Every case is a small network of equal blocks, a 1x1 convolution and the layer in question, in
# three versions: without the layer, with it, and with it in the other form. The first is taken off
# the others, so that what counts is the layer where networks have it: between layers that like
# their maps in an order of their own.

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402
from paddle import nn  # noqa: E402
from paddle.nn.functional import relu  # noqa: E402
from paddle.nn.initializer import Normal  # noqa: E402

from ppdet_lite.benchmark.tables import markdown_table  # noqa: E402
from ppdet_lite.cli.tool import run_tool  # noqa: E402
from ppdet_lite.core.errors import ConfigError  # noqa: E402
from ppdet_lite.export.graph import DetectorUpTo, save_graph  # noqa: E402
from ppdet_lite.export.options import Limits  # noqa: E402
from ppdet_lite.export.rewrite.cpu_forms import replace_layers  # noqa: E402
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2  # noqa: E402
from ppdet_lite.runtime.contract import CONFIG_FILE, InferConfig, ModelFolder  # noqa: E402
from ppdet_lite.runtime.engines.open_engine import open_engine  # noqa: E402
from ppdet_lite.runtime.options import EngineOptions  # noqa: E402
from ppdet_lite.utils.cpu import keep_freed_memory, prefer_fast_blas  # noqa: E402

EPILOG = """examples:
  python tools/dev/benchmark_layers.py                   all of it, about 5 minutes on two cores
  ... --kinds winograd --channels 96 128 --sides 20 40   some layers
  ... --repeats 30                                       more rounds, of which the fastest counts

how to use it: for a processor that is not like the one the limits in
ppdet_lite/export/rewrite/cpu_forms.py were measured on (two cores with AVX2), it says whether they
are right there. What a whole network gains says tools/benchmark.py --engines onednn
onednn_target_cpu.
"""

BLOCKS = 3
WARM_UP = 2

MOST_PRODUCTS = 4_000_000_000
"""Multiply-adds of the largest layer that is measured; none in this family's networks has more."""

NEARLY_EQUAL = 0.1
"""Forms whose times differ by a smaller share count as equally fast."""


class Kind(NamedTuple):
    """A layer that has another form.

    Attributes:
        title: of its table.
        make: number of channels -> the layer.
        always: limits with which `replace_layers` changes every layer of this kind, and no other.
    """

    title: str
    make: Callable[[int], nn.Layer]
    always: Limits


def _convolution(channels: int) -> nn.Layer:
    return nn.Conv2D(channels, channels, 3, padding=1)


def _deformable(channels: int) -> nn.Layer:
    layer = DeformableConvV2(channels, channels)
    weight = layer.conv_offset.weight  # starts at 0, and so every sample on a cell
    Normal(std=(9 * channels) ** -0.5)(weight)
    return layer


KINDS = {
    "winograd": Kind(
        "3x3 convolutions: plain, by Winograd's tiles", _convolution, Limits(0, 1, 0, 0)
    ),
    "deformable": Kind(
        "Deformable 3x3 convolutions: sampled, by gathered rows",
        _deformable,
        Limits(10**9, 1, 0, 0),
    ),
}
"""By the name in the option --kinds."""


class Case(NamedTuple):
    """One layer in both forms.

    Attributes:
        channels, side: of its maps.
        plain, other: milliseconds of one layer.
        chosen: --target cpu takes the other form.
    """

    channels: int
    side: int
    plain: float
    other: float
    chosen: bool

    @property
    def gain(self) -> float:
        """Speed of the other form : speed of the plain one."""
        return self.plain / self.other

    @property
    def is_right(self) -> bool:
        """True if --target cpu takes the faster form, or both are about as fast."""
        return self.chosen == (self.gain > 1) or abs(math.log(self.gain)) < NEARLY_EQUAL

    def __str__(self) -> str:
        mark = " *" if self.chosen else ""
        return f"{self.plain:.2f}, {self.other:.2f}: {self.gain:.2f}{mark}"


class Blocks(nn.Layer):
    """Equal blocks on maps as large as the image, exported as a detector is.

    Args:
        make: number of channels -> the layer in question; None leaves it out.
    """

    def __init__(self, channels: int, make: Optional[Callable[[int], nn.Layer]] = None):
        super().__init__()
        self.first = nn.Conv2D(3, channels, 1)
        self.points = nn.LayerList([nn.Conv2D(channels, channels, 1) for _ in range(BLOCKS)])
        self.layers = nn.LayerList([make(channels) for _ in range(BLOCKS)] if make else [])

    def raw_outputs(self, image) -> list:
        """[B, 3, H, W] to one map [B, channels, H, W]."""
        x = self.first(image)
        for number, point in enumerate(self.points):
            x = relu(point(x))
            if self.layers:
                x = relu(self.layers[number](x))
        return [x]


def fastest_rounds(versions: Sequence[nn.Layer], side: int, repeats: int) -> list[float]:
    """Milliseconds of each version with oneDNN on maps of `side`, taking turns; fastest rounds
    count, because other work only makes rounds slower."""
    image = np.random.default_rng(0).standard_normal((1, 3, side, side), np.float32)
    runs = []
    for version in versions:
        with tempfile.TemporaryDirectory(prefix="benchmark_layers.") as folder:
            graph = DetectorUpTo(version, "raw")
            save_graph(graph, Path(folder), {"image": [1, 3, side, side]})
            steps = [{"type": "Resize", "target_size": [side, side], "keep_ratio": False}]
            InferConfig(steps, [], input_hw=(side, side)).write(Path(folder) / CONFIG_FILE)
            engine = open_engine(ModelFolder(folder), EngineOptions(is_strict=True))
        for _ in range(WARM_UP):
            engine.run({"image": image})
        runs.append(engine.execute)
    times = [[_milliseconds(run) for run in runs] for _ in range(repeats)]
    return [min(rounds) for rounds in zip(*times)]


def products(channels: int, side: int) -> int:
    """Multiply-adds of a layer on a map of side x side."""
    return 9 * (channels * side) ** 2


def _milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def benchmark_layers(
    kinds: Sequence[str],
    channels: Sequence[int],
    sides: Sequence[int],
    repeats: int,
    say: Callable[[str], None] = print,
    stopwatch: Callable[[Sequence[nn.Layer], int, int], list[float]] = fastest_rounds,
) -> dict[str, list[Case]]:
    """Measures every kind with all pairs of channels and sides that are not too large.

    Args:
        kinds: names in `KINDS`.
        say: takes lines about the progress.
        stopwatch: (versions of a network, side, repeats) -> milliseconds of each.
    """
    # As deployment does; both change which form is faster.
    prefer_fast_blas()
    keep_freed_memory()
    cases: dict[str, list[Case]] = {}
    for kind in kinds:
        make, always = KINDS[kind].make, KINDS[kind].always
        cases[kind] = []
        for width in channels:
            for side in sides:
                if products(width, side) > MOST_PRODUCTS:
                    continue
                versions = [Blocks(width), Blocks(width, make), Blocks(width, make)]
                replace_layers(versions[2], (side, side), always)
                without, *others = stopwatch(versions, side, repeats)
                # Only by chance are the blocks without the layer as slow as those with it.
                plain, other = (max(value - without, 1e-3 * value) / BLOCKS for value in others)
                chosen = any(replace_layers(versions[1], (side, side), Limits()))
                cases[kind].append(Case(width, side, plain, other, chosen))
                say(f"{kind}, {width} channels, {side} x {side}: {cases[kind][-1]}")
    return cases


def report(cases: dict[str, list[Case]]) -> str:
    """A table per kind in Markdown, and where the limits choose the slower form."""
    lines, wrong = [], []
    for kind, measured in cases.items():
        cells = {(case.channels, case.side): str(case) for case in measured}
        sides = sorted({case.side for case in measured})
        rows = [
            [str(width), *(cells.get((width, side), "") for side in sides)]
            for width in sorted({case.channels for case in measured})
        ]
        header = ["channels", *(f"{side} x {side}" for side in sides)]
        lines += [f"{KINDS[kind].title} (ms)", "", *markdown_table(header, rows, 0), ""]
        wrong += [
            f"{kind}, {case.channels} channels, {case.side} x {case.side}"
            for case in measured
            if not case.is_right
        ]
    count = sum(map(len, cases.values()))
    lines.append(
        "Milliseconds of one layer in both forms and how many times as fast the second is; * where "
        "--target cpu takes it."
    )
    lines.append(
        f"The limits in export/rewrite/cpu_forms.py take the faster form, or one less than "
        f"{NEARLY_EQUAL:.0%} slower, in {count - len(wrong)} of {count} cases"
        + (f"; not with: {'; '.join(wrong)}" if wrong else "")
    )
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="layers (default: both)")
    add("--channels", nargs="+", type=int, default=[64, 128, 256, 512], metavar="N")
    add("--sides", nargs="+", type=int, default=[10, 20, 40, 80], metavar="CELLS", help="of maps")
    add("--repeats", type=int, default=10, metavar="N", help="rounds per layer (default: 10)")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    if min(args.channels + args.sides + [args.repeats]) < 1:
        raise ConfigError("`channels`, `sides` and `repeats`: 1 or more")

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    print(report(benchmark_layers(args.kinds, args.channels, args.sides, args.repeats, say)))


if __name__ == "__main__":
    run_tool(main, build_parser())
