"""The cost of a configuration's network as tables and JSON, behind ppdet model-info."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import paddle

from ppdet_lite.benchmark.model_info import ModelInfo, Row, measure
from ppdet_lite.benchmark.tables import aligned_table, percent
from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.export.options import input_size as configured_size
from ppdet_lite.modeling.build_detector import build_detector
from ppdet_lite.utils.files import check_writable, write_json

FLOAT32_BYTES = 4


def run_model_info(
    cfg: Config,
    input_size: Sequence[int] = (),
    depth: Optional[int] = 1,
    *,
    sort: bool = False,
    json: Union[str, Path, None] = None,
) -> ModelInfo:
    """Prints the table of `cfg`'s network and its totals; weights are not needed.

    Args:
        input_size: height and width of the network input, or one number for both; empty takes
            `TestReader.inputs_def.image_shape`.
        depth: how many parts of the names make a line; None for a line per layer.
        sort: the most expensive line first.
        json: also write everything, layer by layer, to this file.

    Raises:
        ConfigError: an input size or depth that cannot be.
        UserError: the file cannot be written.
    """
    if depth is not None and depth < 1:
        raise ConfigError(f"`depth`: found {depth}, allowed: 1 or more")
    if len(input_size) > 2 or min(input_size, default=1) < 1:
        raise ConfigError(
            f"`input_size`: found {' '.join(map(str, input_size))}, allowed: height and width in "
            "pixels, or one number for both"
        )
    if json:
        check_writable(json)
    paddle.set_device("cpu")
    size = input_size or configured_size(cfg)
    height, width = size[0], size[-1]
    info = measure(build_detector(cfg), height, width)
    print(f"{cfg.name}: {cfg.architecture}, input 3 x {height} x {width}\n")
    print(table(info, depth, sort), "", *summary(info), sep="\n")
    if json:
        write_json(json, as_dict(info, cfg.name))
        print(f"\nwritten: {json}")
    return info


def table(info: ModelInfo, depth: Optional[int] = 1, sort: bool = False) -> str:
    """Name, class, output, values and multiply-adds with their shares, a line per part."""
    total, rows = info.total, info.rows(depth)
    if sort:
        rows.sort(key=lambda row: row.cost.multiply_adds, reverse=True)
    header = ("name", "type", "output", "params", "share", "GFLOPs", "share")
    cells = [
        (
            row.name or "(model)",
            row.kind,
            ", ".join("x".join(map(str, shape)) for shape in row.outputs),
            f"{row.cost.values:,}",
            percent(row.cost.values, total.values),
            f"{row.cost.multiply_adds / 1e9:.3f}",
            percent(row.cost.multiply_adds, total.multiply_adds),
        )
        for row in [*rows, Row("total", "", [], total)]
    ]
    first, *lines, last = aligned_table(header, cells, text_columns=3)
    rule = "-" * max(map(len, (first, *lines, last)))
    return "\n".join([first, rule, *lines, rule, last])


def summary(info: ModelInfo) -> list[str]:
    """The totals in words, with the units that papers use."""
    total = info.total
    plain = total.multiply_adds - total.deformable
    as_papers = (
        f"{plain / 1e9:.2f} ({plain / 2**30:.2f} x 2^30) without the products of deformable "
        "convolutions, as the PP-YOLO papers count"
        if total.deformable
        else f"{plain / 2**30:.2f} x 2^30, as the PP-YOLO paper counts"
    )
    apart = f"batch norm {total.norm / 1e9:.2f}"
    if total.sampling:
        apart += f", sampling of deformable convolutions {total.sampling / 1e9:.2f}"
    lines = [
        f"params   {total.values / 1e6:.2f} M values ({total.values / 2**20:.2f} x 2^20), "
        f"{total.trainable / 1e6:.2f} M of them trainable; "
        f"{total.values * FLOAT32_BYTES / 1e6:.1f} MB in float32",
        f"GFLOPs   {total.multiply_adds / 1e9:.2f}: convolutions and linear layers, a multiply-add "
        "counts once",
        f"         {as_papers}",
        f"         {2 * total.multiply_adds / 1e9:.2f} with a multiply-add as two operations, as "
        "YOLOX and darknet count",
        f"         not in it: {apart}",
    ]
    if info.uncounted:
        lines.append(f"         not known, so not in it: {', '.join(info.uncounted)}")
    return lines


def as_dict(info: ModelInfo, name: str) -> dict[str, Any]:
    """Everything as plain data: totals, parts of the network, and layers; counts are exact."""

    def plain(row: Row) -> dict[str, Any]:
        outputs = [list(shape) for shape in row.outputs]
        return {"name": row.name, "type": row.kind, "outputs": outputs, **vars(row.cost)}

    return {
        "config": name,
        "input": [3, *info.input_hw],
        "total": vars(info.total),
        "parts": [plain(row) for row in info.rows(1)],
        "layers": [plain(row) for row in info.rows(None)],
        "uncounted": info.uncounted,
    }
