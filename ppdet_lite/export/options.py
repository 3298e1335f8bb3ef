"""The options of an export, from the command line and the configuration."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Optional, Sequence, Union

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.runtime.contract import STAGES, TARGETS
from ppdet_lite.runtime.input_size import STRIDE

DYNAMIC = "dynamic"
PRECISIONS = ("fp32", "fp16")
"""Those that an export writes; INT8 needs images first, see `quantize.run`."""


class Limits(NamedTuple):
    """Sizes from which another form of a layer pays on CPUs, measured by
    tools/dev/benchmark_layers.py with oneDNN on two cores with AVX2.

    Attributes:
        channels, tiles, products: of Winograd's convolutions. With few channels moving tiles about
            costs more than the multiplications saved: on 80 x 80 cells 1.5 times as fast with 128,
            0.9 times with 64. With few tiles it is reading four times the weights: with 512
            channels 1.5 times as fast on 20 x 20 cells (25 tiles), 0.6 times on 10 x 10 (9). Of
            multiply-adds, 1.1 times as fast with 236 million, 0.6 times with 59.
        deformable_products: multiply-adds of a deformable convolution. 1.4 to 1.7 times as fast
            with 940 million (512 channels on 20 x 20 cells), 0.8 to 1.8 times with 59, 0.5 to 1.0
            times with 15.
    """

    channels: int = 128
    tiles: int = 25
    products: int = 128_000_000
    deformable_products: int = 64_000_000


@dataclass(frozen=True)
class ExportOptions:
    """The kind of export that is asked for; `for_config` takes the rest from the configuration.

    Attributes:
        formats: names of formats, see `formats.format`.
        input_size: (height, width) of the network input, one number for both, or "dynamic" for any;
            None for `TestReader.inputs_def.image_shape`. A list of one counts as its entry.
        batch: images per run, or "dynamic" for any number.
        stage: where the graph ends, one of STAGES; "" for what PaddleDetection's section `export`
            says, without one "nms".
        portable_dcn: also write a file without the operator DeformConv, where a format has one.
        target: one of TARGETS; "cpu" needs a fixed input size.
        precision: one of PRECISIONS; "fp16" writes float16 files beside those of float32, where a
            format has such.
        calib_dir: folder of images on which overflow in float16 is looked for; None takes those of
            the configuration's evaluation data.
        cpu_limits: layers that are smaller keep their form with the target "cpu".

    Raises:
        UserError: something that cannot be exported, with what is allowed.
    """

    formats: Sequence[str] = ("paddle",)
    input_size: Union[str, int, Sequence, None] = None
    batch: Union[str, int] = DYNAMIC
    stage: str = ""
    portable_dcn: bool = False
    target: str = "any"
    precision: str = PRECISIONS[0]
    calib_dir: Union[str, Path, None] = None
    cpu_limits: Limits = Limits()

    def __post_init__(self):
        for key, value, allowed in (
            ("stage", self.stage or STAGES[-1], STAGES),
            ("target", self.target, TARGETS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in allowed:
                raise UserError(f"`{key}`: found {value}, allowed: {', '.join(allowed)}")
        if self.batch != DYNAMIC and (not isinstance(self.batch, int) or self.batch < 1):
            raise UserError(f"`batch`: found {self.batch}, allowed: 1 or more, or {DYNAMIC}")
        if self.input_size in (DYNAMIC, [DYNAMIC]):
            object.__setattr__(self, "input_size", DYNAMIC)
        elif self.input_size is not None:
            object.__setattr__(self, "input_size", as_size(self.input_size, f", or {DYNAMIC}"))
        if self.target == "cpu" and self.input_size == DYNAMIC:
            raise UserError(
                "`target` cpu writes the graph for one size: give `input_size` a height and a "
                f"width, not {DYNAMIC}"
            )
        if self.target == "cpu" and self.precision == "fp16":
            raise UserError(
                "`precision` fp16 needs `target` any: convolutions by Winograd's method are not "
                "exact enough in float16"
            )
        if self.calib_dir is not None and self.precision != "fp16":
            raise UserError("`calib_dir` needs `precision` fp16")

    @property
    def input_hw(self) -> Optional[tuple[int, int]]:
        """(height, width) of the network input; None where both are free."""
        return self.input_size if isinstance(self.input_size, tuple) else None

    @property
    def fixed_batch(self) -> Optional[int]:
        """Images per run; None where any number is allowed."""
        return self.batch if isinstance(self.batch, int) else None

    def for_config(self, cfg: Config) -> "ExportOptions":
        """The same with the input size and stage of `cfg` where they were left open; a ConfigError
        if they cannot be exported."""
        section, stage = cfg.settings.export, "nms"
        if section.benchmark or not section.post_process:
            stage = "raw"
        elif not section.nms:
            stage = "decoded"
        size = input_size(cfg) if self.input_size is None else self.input_size
        return replace(self, input_size=size, stage=self.stage or stage)


PLAIN = ExportOptions()


def as_size(size: Union[str, int, Sequence], further: str = "") -> tuple[int, int]:
    """(height, width) of the network input, from both or from one number for both; a UserError for
    a size that no network here takes. `further` is what else is allowed."""
    sides: list[Any] = list(size) if isinstance(size, (list, tuple)) else [size]
    if len(sides) > 2 or not all(map(_is_side, sides)):
        raise UserError(
            f"`input_size`: found {' '.join(map(str, sides))}, allowed: height and width, both "
            f"multiples of {STRIDE}{further}"
        )
    return sides[0], sides[-1]


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and value > 0 and value % STRIDE == 0


def input_size(cfg: Config) -> tuple[int, int]:
    """(height, width) of the network input, from `TestReader.inputs_def.image_shape`; a ConfigError
    if that is missing or no such size."""
    shape: Any = ((cfg.get("TestReader") or {}).get("inputs_def") or {}).get("image_shape")
    is_image = isinstance(shape, (list, tuple)) and len(shape) == 3 and shape[0] == 3
    if is_image and all(map(_is_side, shape[1:])):
        return shape[1], shape[2]
    raise ConfigError(
        f"TestReader.inputs_def.image_shape: found {shape!r}, allowed: [3, height, width], both "
        f"multiples of {STRIDE}, for instance [3, 640, 640]"
    )
