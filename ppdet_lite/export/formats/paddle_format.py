"""The format paddle: what Paddle Inference of the installed version runs."""

from functools import partial
from pathlib import Path

from paddle import nn

from ppdet_lite.export.formats.format import Format, Trial, open_strictly
from ppdet_lite.export.graph import save_paddle_graph
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.runtime.contract import GRAPH_FILE, LEGACY_GRAPH_FILE, PARAMS_FILE, TENSORRT_FILE
from ppdet_lite.runtime.engines.tensorrt import shared_settings
from ppdet_lite.utils.files import write_json


class PaddleFormat(Format):
    """model.json of Paddle 3, or model.pdmodel from Paddle 2, and model.pdiparams."""

    name = "paddle"
    files = (GRAPH_FILE, LEGACY_GRAPH_FILE, PARAMS_FILE, f"{PARAMS_FILE}.info", TENSORRT_FILE)

    def write(self, network: nn.Layer, folder: Path, options: ExportOptions) -> None:
        save_paddle_graph(network, folder, options)
        write_json(folder / TENSORRT_FILE, shared_settings())

    def trials(self, folder: Path) -> list[Trial]:
        return [
            Trial("plain kernels", partial(open_strictly, folder, "paddle", enable_mkldnn=False)),
            Trial("oneDNN kernels", partial(open_strictly, folder, "paddle"), may_fail=True),
        ]
