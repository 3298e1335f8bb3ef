"""From which size on a convolution is faster in the form that --target cpu gives it.

`modeling.for_cpu.Limits` come from here. Every case is a small network of equal blocks, a 1x1
convolution and the layer in question, in three versions: without the layer, with it, and with it
in the other form. The first is taken off the others, so that what counts is the layer where
networks have it: between layers that like their maps in an order of their own.
"""

import math
import tempfile
import time
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Sequence

import numpy as np
from paddle import nn
from paddle.nn.functional import relu
from paddle.nn.initializer import Normal

from ppdet_lite.export.formats.graph import save_paddle_graph
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.rewrite.cpu_forms import Limits, for_cpu
from ppdet_lite.export.runners import ExportedModel
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2
from ppdet_lite.utils.cpu import keep_freed_memory, prefer_fast_blas

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
        always: limits with which `for_cpu` changes every layer of this kind, and no other.
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
        chosen: whether --target cpu takes the other form.
    """

    channels: int
    side: int
    plain: float
    other: float
    chosen: bool

    @property
    def gain(self) -> float:
        """How many times as fast the other form is."""
        return self.plain / self.other

    @property
    def is_right(self) -> bool:
        """Whether --target cpu takes the faster form, or both are about as fast."""
        return self.chosen == (self.gain > 1) or abs(math.log(self.gain)) < NEARLY_EQUAL


class _Block(nn.Layer):
    def __init__(self, channels: int, make: Optional[Callable[[int], nn.Layer]]):
        super().__init__()
        self.point = nn.Conv2D(channels, channels, 1)
        self.layer = make(channels) if make else None

    def forward(self, x):
        x = relu(self.point(x))
        return x if self.layer is None else relu(self.layer(x))


class _Blocks(nn.Layer):
    """Equal blocks on maps as large as the image, exported as a detector is."""

    def __init__(self, channels: int, make: Optional[Callable[[int], nn.Layer]] = None):
        super().__init__()
        self.first = nn.Conv2D(3, channels, 1)
        self.blocks = nn.Sequential(*[_Block(channels, make) for _ in range(BLOCKS)])

    def raw_outputs(self, image):
        """[B, 3, H, W] to one map [B, channels, H, W]."""
        return [self.blocks(self.first(image))]


def benchmark_layers(
    kinds: Sequence[str],
    channels: Sequence[int],
    sides: Sequence[int],
    repeats: int,
    say: Callable[[str], None] = print,
) -> dict[str, list[Case]]:
    """Measures every kind with all pairs of channels and sides that are not too large.

    Args:
        kinds: names in `KINDS`.
        repeats: rounds; fastest rounds count, because other work only makes rounds slower.
        say: takes lines about the progress.
    """
    # As deployment does; both change which form is faster.
    prefer_fast_blas()
    keep_freed_memory()
    cases = {}
    for kind in kinds:
        cases[kind] = []
        for width in channels:
            for side in sides:
                if 9 * (width * side) ** 2 <= MOST_PRODUCTS:
                    case = _measure(KINDS[kind], width, side, repeats)
                    say(f"{kind}, {width} channels, {side} x {side}: {_cell(case)}")
                    cases[kind].append(case)
    return cases


def _measure(kind: Kind, channels: int, side: int, repeats: int) -> Case:
    versions = [_Blocks(channels), _Blocks(channels, kind.make), _Blocks(channels, kind.make)]
    for_cpu(versions[2], (side, side), kind.always)
    without, plain, other = _fastest_rounds(versions, side, repeats)
    chosen = for_cpu(versions[1], (side, side))
    return Case(
        channels,
        side,
        _of_one_layer(plain, without),
        _of_one_layer(other, without),
        any(chosen),
    )


def _of_one_layer(milliseconds: float, without: float) -> float:
    least = 1e-3 * milliseconds  # only by chance are the blocks without it as slow
    return max(milliseconds - without, least) / BLOCKS


def _fastest_rounds(versions: list[nn.Layer], side: int, repeats: int) -> list[float]:
    """Milliseconds of each version with oneDNN, taking turns."""
    options = ExportOptions(stage="raw", input_hw=(side, side), batch=1)
    image = np.random.default_rng(0).standard_normal((1, 3, side, side), np.float32)
    runs = []
    for version in versions:
        with tempfile.TemporaryDirectory(prefix="benchmark_layers.") as folder:
            save_paddle_graph(version, folder, options)
            model = ExportedModel(Path(folder), onednn=True)
        for _ in range(WARM_UP):
            model({"image": image})
        runs.append(model.predictor.run)
    times = [[_milliseconds(run) for run in runs] for _ in range(repeats)]
    return [min(rounds) for rounds in zip(*times)]


def _milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def report(cases: dict[str, list[Case]]) -> str:
    """A table per kind in Markdown, and where the limits choose the slower form."""
    lines = []
    for kind, measured in cases.items():
        lines += [*_table(KINDS[kind].title, measured), ""]
    lines.append(
        "Milliseconds of one layer in both forms and how many times as fast the second is; * where "
        "--target cpu takes it."
    )
    every = [(kind, case) for kind, measured in cases.items() for case in measured]
    wrong = [
        f"{kind}, {case.channels} channels, {case.side} x {case.side}"
        for kind, case in every
        if not case.is_right
    ]
    lines.append(
        f"The limits in export/rewrite/cpu_forms.py take the faster form, or one less than "
        f"{NEARLY_EQUAL:.0%} slower, in {len(every) - len(wrong)} of {len(every)} cases"
        + (f"; not with: {'; '.join(wrong)}" if wrong else "")
    )
    return "\n".join(lines)


def _table(title: str, cases: list[Case]) -> list[str]:
    cells = {(case.channels, case.side): _cell(case) for case in cases}
    sides = sorted({case.side for case in cases})
    rows = [["channels", *(f"{side} x {side}" for side in sides)], ["---:"] * (len(sides) + 1)]
    for channels in sorted({case.channels for case in cases}):
        rows.append([str(channels), *(cells.get((channels, side), "") for side in sides)])
    return [f"{title} (ms)", "", *("| " + " | ".join(row) + " |" for row in rows)]


def _cell(case: Case) -> str:
    mark = " *" if case.chosen else ""
    return f"{case.plain:.2f}, {case.other:.2f}: {case.gain:.2f}{mark}"
