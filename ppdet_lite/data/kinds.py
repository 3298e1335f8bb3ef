"""Types of settings, with the values that are allowed."""

from typing import Annotated, Any, Literal, Sequence, Union

from ppdet_lite.core.annotations import Count as AnyCount
from ppdet_lite.core.annotations import Positive as Positive
from ppdet_lite.core.annotations import Probability as Probability
from ppdet_lite.core.annotations import Rule
from ppdet_lite.core.annotations import Whole as Whole
from ppdet_lite.data.pixels.headers import MAX_PIXELS, SizeHW
from ppdet_lite.data.pixels.resampling import INTERPOLATIONS


def height_width(size: Union[int, Sequence[int]]) -> SizeHW:
    """(height, width) from one side of a square or both."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def _is_size(size: Any) -> bool:
    sides = [size] * 2 if isinstance(size, int) else size
    return len(sides) == 2 and min(sides) > 0 and sides[0] * sides[1] <= MAX_PIXELS


def _rises(values: Sequence[float]) -> bool:
    return len(values) == 2 and values[0] <= values[1]


Switch = Union[bool, Literal[0, 1]]
SampleCount = Annotated[int, Rule(lambda value: value > 0 or value == -1, "-1 or 1 and up")]
Pixels = AnyCount
Count = Annotated[AnyCount, Rule(lambda value: value <= 10**5, "1 or more, at most 100000")]
Interval = Annotated[Sequence[float], Rule(_rises, "[lower, upper]")]
PositiveInterval = Annotated[
    Interval, Rule(lambda v: v[0] > 0 and v[1] <= 100, "[lower, upper] above 0, up to 100")
]
Draw = Annotated[
    Sequence[float],
    Rule(lambda v: len(v) == 3 and v[0] <= v[1] and 0 <= v[2] <= 1, "[lower, upper, prob]"),
]
Jitter = Annotated[float, Rule(lambda jitter: 0 <= jitter < 0.5, "0 to below 0.5")]
Zoom = Annotated[float, Rule(lambda zoom: 0.2 <= zoom <= 5, "0.2 to 5")]
Factor = Annotated[float, Rule(lambda factor: 1 <= factor <= 100, "1 to 100")]
Ratio = Annotated[float, Rule(lambda ratio: 1.01 < ratio <= 100, "a number above 1.01, up to 100")]
Interp = Annotated[
    int, Rule(INTERPOLATIONS.__contains__, "0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos")
]
Size = Annotated[Union[int, Sequence[int]], Rule(_is_size, "a positive integer or [height, width]")]
Sizes = Annotated[Sequence[Size], Rule(len, "a list of sizes")]  # not empty
NoRatio = Annotated[bool, Rule(lambda keep: not keep, "false; the images of a batch need one size")]
Offsets = Annotated[Sequence[int], Rule(lambda offsets: len(offsets) == 2, "[x, y]")]
Anchor = Annotated[
    Sequence[float], Rule(lambda size: len(size) == 2 and min(size) > 0, "[width, height]")
]
Color = Annotated[
    Sequence[float],
    Rule(lambda v: len(v) == 3 and max(map(abs, v)) <= 1e6, "three numbers (R, G, B) up to 1e6"),
]
Divisor = Annotated[
    Color, Rule(lambda v: min(map(abs, v)) >= 1e-6, "three numbers (R, G, B) other than 0")
]
Fill = Annotated[Union[float, Color], Rule(lambda fill: True, "one number or three (R, G, B)")]
