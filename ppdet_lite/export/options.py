"""What an export is asked to be, from the command line and the configuration."""

from typing import NamedTuple, Optional, Sequence, Union

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.runtime.contract import STAGES, TARGETS

DYNAMIC = "dynamic"

FORMATS = ("paddle", "paddle-legacy", "onnx")
"""paddle: model.json of Paddle 3 (model.pdmodel from Paddle 2). paddle-legacy: model.pdmodel."""


class ExportOptions(NamedTuple):
    """The kind of export.

    Attributes:
        formats: some of FORMATS.
        stage: one of STAGES.
        input_hw: (height, width) of the network input; None leaves both free.
        batch: images per run; None leaves it free.
        portable_dcn: write model_portable.onnx too, without the operator DeformConv.
        target: one of TARGETS.
    """

    formats: tuple[str, ...] = ("paddle",)
    stage: str = "nms"
    input_hw: Optional[tuple[int, int]] = None
    batch: Optional[int] = None
    portable_dcn: bool = False
    target: str = "any"


def export_options(
    cfg,
    formats: Sequence[str] = ("paddle",),
    input_size: Union[str, int, Sequence, None] = None,
    batch: Union[str, int, None] = None,
    stage: Optional[str] = None,
    portable_dcn: bool = False,
    target: str = "any",
) -> ExportOptions:
    """Checks what is asked for, and takes from `cfg` what is not.

    Args:
        input_size: (height, width) or one number for both; "dynamic"; None for
            `TestReader.inputs_def.image_shape`. Also as a list of one, as command lines give it.
        batch: a number; None or "dynamic" for any.
        stage: None for what PaddleDetection's section `export` says, without one "nms".
        target: "cpu" needs a fixed input size.

    Raises:
        UserError: something that cannot be exported, with what is allowed.
        ConfigError: the same about the configuration.
    """
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"--format: found {name}, allowed: {', '.join(FORMATS)}")
    if {"paddle", "paddle-legacy"} <= set(formats):
        raise UserError(
            "--format: paddle and paddle-legacy name their parameter files alike; write them into "
            "two folders with --output_dir"
        )
    if portable_dcn and "onnx" not in formats:
        raise UserError("--portable-dcn is about --format onnx, which is not asked for")
    section_stage = stage_of_section(cfg)
    stage = section_stage if stage is None else stage
    if stage not in STAGES:
        raise UserError(f"--stage: found {stage}, allowed: {', '.join(STAGES)}")
    batch = None if batch == DYNAMIC else batch
    if batch is not None and (not isinstance(batch, int) or batch < 1):
        raise UserError(f"--batch: found {batch}, allowed: 1 or more, or {DYNAMIC}")
    if target not in TARGETS:
        raise UserError(f"--target: found {target}, allowed: {', '.join(TARGETS)}")
    size = network_size(cfg, input_size)
    if target == "cpu" and size is None:
        raise UserError(
            f"--target cpu writes the graph for one size: give --input-size H W, not {DYNAMIC}"
        )
    formats = tuple(dict.fromkeys(formats))
    return ExportOptions(formats, stage, size, batch, bool(portable_dcn), target)


def network_size(cfg, size, may_be_free: bool = True) -> Optional[tuple[int, int]]:
    """(height, width) of the network input that is asked for; None where both shall be free.

    Args:
        size: see `export_options`.
        may_be_free: whether "dynamic" is allowed.

    Raises:
        UserError: a size that no network here takes.
        ConfigError: the same in `cfg`.
    """
    if size is None:
        return input_size(cfg)
    sides = list(size) if isinstance(size, (list, tuple)) else [size]
    if may_be_free and sides == [DYNAMIC]:
        return None
    height, *rest = sides
    width = rest[0] if rest else height
    if len(rest) > 1 or not all(isinstance(n, int) and n > 0 and n % 32 == 0 for n in sides):
        raise UserError(
            f"--input-size: found {' '.join(map(str, sides))}, allowed: height and width, both "
            "multiples of 32" + (f", or {DYNAMIC}" if may_be_free else "")
        )
    return height, width


def with_input_size(preprocess: list[dict], height: int, width: int) -> list[dict]:
    """A list as in `Preprocess` of infer_cfg.yml, for another size of the network input."""
    steps = [dict(step) for step in preprocess]
    for step in steps:
        if step["type"] == "Resize":
            step["target_size"] = [height, width]
        elif step["type"] == "Pad":
            step["size"] = [height, width]
    return steps


def stage_of_section(cfg) -> str:
    """The stage that PaddleDetection's section `export` asks for; "nms" without one."""
    section = cfg.settings.export
    if section.benchmark or not section.post_process:
        return "raw"
    return "nms" if section.nms else "decoded"


def input_size(cfg) -> tuple[int, int]:
    """(height, width) of the network input, from `TestReader.inputs_def.image_shape`.

    Raises:
        ConfigError: it is missing, not [3, H, W], or not a multiple of the largest stride, 32.
    """
    inputs_def = (cfg.get("TestReader") or {}).get("inputs_def") or {}
    shape = inputs_def.get("image_shape")
    example = "for instance -o TestReader.inputs_def.image_shape=[3,640,640]"
    is_list = isinstance(shape, (list, tuple)) and len(shape) == 3
    if not is_list or not all(isinstance(n, int) and n > 0 for n in shape) or shape[0] != 3:
        raise ConfigError(
            f"TestReader.inputs_def.image_shape: found {shape!r}, allowed: [3, height, width], "
            f"{example}"
        )
    if shape[1] % 32 or shape[2] % 32:
        raise ConfigError(
            f"TestReader.inputs_def.image_shape: found {list(shape)}, allowed: height and width "
            f"that are multiples of 32, {example}"
        )
    return int(shape[1]), int(shape[2])
