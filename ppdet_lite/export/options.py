"""The options of an export, from the command line and the configuration."""

from dataclasses import dataclass, replace
from typing import Any, Optional, Sequence, Union

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.export.rewrite.limits import MEASURED, Limits
from ppdet_lite.runtime.contract import STAGES, STRIDE, TARGETS

DYNAMIC = "dynamic"


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
    cpu_limits: Limits = MEASURED

    def __post_init__(self):
        if self.stage not in ("", *STAGES):
            raise UserError(f"`stage`: found {self.stage}, allowed: {', '.join(STAGES)}")
        if self.batch != DYNAMIC and (not isinstance(self.batch, int) or self.batch < 1):
            raise UserError(f"`batch`: found {self.batch}, allowed: 1 or more, or {DYNAMIC}")
        if self.target not in TARGETS:
            raise UserError(f"`target`: found {self.target}, allowed: {', '.join(TARGETS)}")
        if self.input_size in (DYNAMIC, [DYNAMIC]):
            object.__setattr__(self, "input_size", DYNAMIC)
        elif self.input_size is not None:
            object.__setattr__(self, "input_size", as_size(self.input_size, f", or {DYNAMIC}"))
        if self.target == "cpu" and self.input_size == DYNAMIC:
            raise UserError(
                "`target` cpu writes the graph for one size: give `input_size` a height and a "
                f"width, not {DYNAMIC}"
            )

    @property
    def input_hw(self) -> Optional[tuple[int, int]]:
        """(height, width) of the network input; None where both are free."""
        return self.input_size if isinstance(self.input_size, tuple) else None

    @property
    def fixed_batch(self) -> Optional[int]:
        """Images per run; None where any number is allowed."""
        return self.batch if isinstance(self.batch, int) else None

    def for_config(self, cfg: Config) -> "ExportOptions":
        """The same with what `cfg` says about input size and stage, where they were left open.

        Raises:
            ConfigError: `cfg` asks for something that cannot be exported.
        """
        section, stage = cfg.settings.export, "nms"
        if section.benchmark or not section.post_process:
            stage = "raw"
        elif not section.nms:
            stage = "decoded"
        size = input_size(cfg) if self.input_size is None else self.input_size
        return replace(self, input_size=size, stage=self.stage or stage)


PLAIN = ExportOptions()


def as_size(size: Union[str, int, Sequence], further: str = "") -> tuple[int, int]:
    """(height, width) of the network input, from both or from one number for both.

    Raises:
        UserError: a size that no network here takes; `further` is what else is allowed.
    """
    sides = list(size) if isinstance(size, (list, tuple)) else [size]
    numbers = [n for n in sides if isinstance(n, int) and n > 0 and n % STRIDE == 0]
    if len(sides) > 2 or len(numbers) < len(sides):
        raise UserError(
            f"`input_size`: found {' '.join(map(str, sides))}, allowed: height and width, both "
            f"multiples of {STRIDE}{further}"
        )
    return numbers[0], numbers[-1]


def input_size(cfg: Config) -> tuple[int, int]:
    """(height, width) of the network input, from `TestReader.inputs_def.image_shape`.

    Raises:
        ConfigError: it is missing, not [3, H, W], or not a multiple of the largest stride, 32.
    """
    shape: Any = ((cfg.get("TestReader") or {}).get("inputs_def") or {}).get("image_shape")
    is_list = isinstance(shape, (list, tuple)) and len(shape) == 3 and shape[0] == 3
    if not is_list or not all(isinstance(n, int) and n > 0 for n in shape):
        allowed = "[3, height, width]"
    elif shape[1] % STRIDE or shape[2] % STRIDE:
        allowed = f"height and width that are multiples of {STRIDE}"
    else:
        return shape[1], shape[2]
    raise ConfigError(
        f"TestReader.inputs_def.image_shape: found {shape!r}, allowed: {allowed}, for instance "
        "[3, 640, 640]"
    )
