"""The cost of a configuration's network as tables and JSON, behind tools/model_info.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import paddle

from ppdet_lite.benchmark.model_info import Cost, ModelInfo, Row, measure
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.export.options import input_size
from ppdet_lite.modeling.build_detector import build_detector
from ppdet_lite.utils.json_file import check_json, write_json

FLOAT32_BYTES = 4


def run_model_info(
    cfg,
    size: Sequence[int] = (),
    depth: Optional[int] = 1,
    sort: bool = False,
    json_path: Optional[Union[str, Path]] = None,
) -> ModelInfo:
    """Prints the table of `cfg`'s network and its totals; weights are not needed.

    Args:
        size: height and width of the network input, or one number for both; empty takes
            `TestReader.inputs_def.image_shape`.
        depth: how many parts of the names make a line; None for a line per layer.
        sort: the most expensive line first.
        json_path: also write everything, layer by layer, to this file.

    Raises:
        ConfigError: an input size or depth that cannot be, or no network that can be counted.
        UserError: the file cannot be written.
    """
    if depth is not None and depth < 1:
        raise ConfigError(f"--depth: found {depth}, allowed: 1 or more")
    if json_path:
        check_json(json_path)
    paddle.set_device("cpu")
    model = build_detector(cfg)
    height, width = _input_hw(cfg, size)
    info = measure(model, height, width)
    print(f"{cfg.name}: {cfg.architecture}, input 3 x {height} x {width}\n")
    print(table(info, depth, sort))
    print()
    print("\n".join(summary(info)))
    if json_path:
        write_json(json_path, as_dict(info, cfg.name))
        print(f"\nwritten: {json_path}")
    return info


def _input_hw(cfg, size: Sequence[int]) -> tuple[int, int]:
    if not size:
        return input_size(cfg)
    if len(size) > 2 or min(size) < 1:
        raise ConfigError(
            f"--input-size: found {' '.join(map(str, size))}, allowed: height and width in pixels, "
            "or one number for both"
        )
    return size[0], size[-1]


def table(info: ModelInfo, depth: Optional[int] = 1, sort: bool = False) -> str:
    """Name, class, output, values and multiply-adds with their shares, a line per part."""
    total = info.total
    rows = info.rows(depth)
    if sort:
        rows.sort(key=lambda row: row.cost.multiply_adds, reverse=True)
    rows.append(Row("total", "", [], total))
    lines = [("name", "type", "output", "params", "share", "GFLOPs", "share")]
    lines += [_cells(row, total) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    texts = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
    rule = "-" * max(map(len, texts))
    return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])


def _cells(row: Row, total: Cost) -> tuple:
    return (
        row.name or "(model)",
        row.kind,
        ", ".join("x".join(map(str, shape)) for shape in row.outputs),
        f"{row.cost.values:,}",
        _share(row.cost.values, total.values),
        f"{row.cost.multiply_adds / 1e9:.3f}",
        _share(row.cost.multiply_adds, total.multiply_adds),
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _aligned(line: tuple, widths: list[int]) -> list[str]:
    """Texts to the left, numbers to the right."""
    pairs = list(zip(line, widths))
    return [text.ljust(n) for text, n in pairs[:3]] + [text.rjust(n) for text, n in pairs[3:]]


def summary(info: ModelInfo) -> list[str]:
    """The totals in words, with the units that papers use."""
    total = info.total
    plain = total.multiply_adds - total.deformable
    lines = [
        f"params   {total.values / 1e6:.2f} M values ({total.values / 2**20:.2f} x 2^20), "
        f"{total.trainable / 1e6:.2f} M of them trainable; "
        f"{total.values * FLOAT32_BYTES / 1e6:.1f} MB in float32",
        f"GFLOPs   {total.multiply_adds / 1e9:.2f}: convolutions and linear layers, a multiply-add "
        "counts once",
    ]
    if total.deformable:
        lines.append(
            f"         {plain / 1e9:.2f} ({plain / 2**30:.2f} x 2^30) without the products of "
            "deformable convolutions, as the PP-YOLO papers count"
        )
    else:
        lines.append(f"         {plain / 2**30:.2f} x 2^30, as the PP-YOLO paper counts")
    lines.append(
        f"         {2 * total.multiply_adds / 1e9:.2f} with a multiply-add as two operations, as "
        "YOLOX and darknet count"
    )
    apart = f"batch norm {total.norm / 1e9:.2f}"
    if total.sampling:
        apart += f", sampling of deformable convolutions {total.sampling / 1e9:.2f}"
    lines.append(f"         not in it: {apart}")
    if info.uncounted:
        lines.append(f"         not known, so not in it: {', '.join(info.uncounted)}")
    return lines


def as_dict(info: ModelInfo, name: str) -> dict:
    """Everything as plain data: totals, parts of the network, and layers; counts are exact."""
    return {
        "config": name,
        "input": [3, *info.input_hw],
        "total": vars(info.total),
        "parts": [_plain(row) for row in info.rows(1)],
        "layers": [_plain(row) for row in info.rows(None)],
        "uncounted": info.uncounted,
    }


def _plain(row: Row) -> dict:
    outputs = [list(shape) for shape in row.outputs]
    return {"name": row.name, "type": row.kind, "outputs": outputs, **vars(row.cost)}
