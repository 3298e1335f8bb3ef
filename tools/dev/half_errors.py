#!/usr/bin/env python3
"""Prints the errors of float16 exports against float32, with simulated float16 arithmetic."""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Optional, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from paddle import nn  # noqa: E402

from ppdet_lite.benchmark.random_weights import set_random_weights  # noqa: E402
from ppdet_lite.benchmark.tables import markdown_table  # noqa: E402
from ppdet_lite.cli.tool import run_tool  # noqa: E402
from ppdet_lite.core.config import Config  # noqa: E402
from ppdet_lite.core.workspace import load_config  # noqa: E402
from ppdet_lite.evaluate.trained_model import load_trained_model  # noqa: E402
from ppdet_lite.export.calibration import Calibration  # noqa: E402
from ppdet_lite.export.check import load_images, outputs_behind_raw  # noqa: E402
from ppdet_lite.export.compare import FLOAT16, compare_detections  # noqa: E402
from ppdet_lite.export.formats.onnx_format import OnnxFormat  # noqa: E402
from ppdet_lite.export.onnx.cpu_session import CpuSession  # noqa: E402
from ppdet_lite.export.onnx.float16.half_simulation import SimulatedHalf  # noqa: E402
from ppdet_lite.export.options import ExportOptions, as_size, input_size  # noqa: E402
from ppdet_lite.export.rewrite.network import exported_network  # noqa: E402
from ppdet_lite.export.run import describe_export  # noqa: E402
from ppdet_lite.runtime.contract import HALF_FILES, ONNX_FILE, PORTABLE_FILE  # noqa: E402
from ppdet_lite.runtime.engines.engine import Arrays, stack_samples  # noqa: E402

EPILOG = """examples:
  python tools/dev/half_errors.py -c configs/ppyolo/*_coco.yml     weights drawn for each
  ... --images photos                                              on other images
  ... -c my.yml -o weights=output/my/best_model --trained          of a trained network

how to read it: raw outputs are compared value by value, |a - b| and |a - b| / |b| as Euclidean
norms; boxes, cut off at the image, are matched within the tolerances of the export's own check,
with the largest differences among the matched.
"""

MAX_IMAGES = 32


class Errors(NamedTuple):
    """Differences between two networks.

    Attributes:
        largest: absolute raw output.
        raw, norm: largest absolute difference of raw outputs; of whole levels, by norm.
        matched, total: boxes, of those in float32.
        score, px: largest differences among the matched.
    """

    largest: float
    raw: float
    norm: float
    matched: int
    total: int
    score: float
    px: float

    @classmethod
    def between(
        cls,
        raw: Sequence[np.ndarray],
        other_raw: Sequence[np.ndarray],
        boxes: np.ndarray,
        other_boxes: np.ndarray,
    ) -> "Errors":
        """Of raw outputs per level and detections [M, 6] of one image, float32 first."""
        gaps = [np.abs(a - b) for a, b in zip(other_raw, raw)]
        norms = [float(np.linalg.norm(gap) / np.linalg.norm(b)) for gap, b in zip(gaps, raw)]
        found = compare_detections(boxes, other_boxes, tolerances=FLOAT16)
        return cls(
            max(float(np.abs(level).max()) for level in raw),
            max(float(gap.max()) for gap in gaps),
            max(norms),
            found.matched,
            len(boxes),
            found.max_score,
            found.max_box_px,
        )

    @classmethod
    def together(cls, errors: "Sequence[Errors]") -> "Errors":
        """Of all images: sums of boxes, and the largest of all else."""
        columns = dict(zip(cls._fields, zip(*errors)))
        sums = ("matched", "total")
        return cls(**{key: (sum if key in sums else max)(columns[key]) for key in cls._fields})


class Row(NamedTuple):
    """A network: size of its input, errors, and number of layers that stay in float32 for their
    values."""

    name: str
    size: Sequence[int]
    errors: Errors
    layers: int

    def cells(self) -> list[str]:
        """As in `TITLES`."""
        e, (height, width) = self.errors, self.size
        numbers = [f"{e.largest:.3g}", f"{e.raw:.2g}", f"{e.norm:.2g}"]
        boxes = [f"{e.matched} of {e.total}", f"{e.score:.2g}", f"{e.px:.2g}"]
        size = f"{height}" if height == width else f"{height} x {width}"
        return [self.name, size, *numbers, *boxes, str(self.layers)]


TITLES = (
    *("config", "input", "largest raw output", "raw error", "relative norm", "boxes matched"),
    *("score error", "px error", "layers in float32"),
)


def measure(cfg: Config, images: Sequence[str] = (), input_size: Optional[int] = None) -> Row:
    """The errors of `cfg.weights` on images and folders, the built-in image without any; overflow
    is looked for on the same images."""
    form, wanted = OnnxFormat(), ExportOptions(("onnx",), input_size, stage="raw")
    options = replace(wanted, portable_dcn=True, precision="fp16").for_config(cfg)
    model, weights = load_trained_model(cfg)
    config = describe_export(cfg, model, weights, options, [form])
    named = dict(list(load_images(images).items())[:MAX_IMAGES])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        form.write(exported_network(model, options), folder, options)
        kept = form.write_half(folder, Calibration("the images", named, config))["float32_layers"]
        name = next(name for name in (PORTABLE_FILE, ONNX_FILE) if (folder / name).is_file())
        exact = CpuSession(onnx.load(str(folder / name)), folder / name)
        half = SimulatedHalf(folder / HALF_FILES[name])
        preprocess, errors = config.make_preprocess(), []
        for image in named.values():
            inputs = stack_samples([preprocess(image)])
            pair = (exact.run(inputs), half.run(inputs))
            boxes = (_detections(model, raw, inputs, image.shape) for raw in pair)
            errors.append(Errors.between(*pair, *boxes))
    size = preprocess.output_hw or tuple(inputs["image"].shape[2:])
    return Row(cfg.name, size, Errors.together(errors), len(kept))


def _detections(
    model: nn.Layer, raw: list[np.ndarray], inputs: Arrays, shape: Sequence[int]
) -> np.ndarray:
    """Detections [M, 6] with corners inside of the image; drawn weights make boxes of any size."""
    (height, width), rows = shape[:2], outputs_behind_raw(model, raw, inputs)[1][0]
    return np.concatenate([rows[:, :2], rows[:, 2:].clip(0, [width, height] * 2)], axis=1)


def run(args: argparse.Namespace) -> None:
    """Prints the table."""
    OnnxFormat().requirements()
    rows = []
    for path in args.config:
        cfg = load_config(path, [*args.opt, "use_gpu=false"])
        with tempfile.TemporaryDirectory() as folder:
            if not args.trained:
                size = as_size(args.input_size) if args.input_size else input_size(cfg)
                set_random_weights(cfg, Path(folder, "random.pdparams"), size)
            rows.append(measure(cfg, args.images, args.input_size).cells())
        print(f"{path}: done", file=sys.stderr)
    print("\n".join(markdown_table(TITLES, rows)))


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("-c", "--config", nargs="+", required=True, metavar="FILE", help="YAML configurations")
    add("-o", "--opt", nargs="+", default=[], metavar="KEY=VALUE", help="change keys of all")
    add("--trained", action="store_true", help="the weights of the configuration, not drawn ones")
    text = f"images or folders, up to {MAX_IMAGES} images (default: a built-in image)"
    add("--images", nargs="+", default=[], metavar="IMAGE", help=text)
    text = "side of the network input (default: that of the configuration)"
    add("--input-size", type=int, metavar="PX", help=text)
    return parser


main = run

if __name__ == "__main__":
    run_tool(run, build_parser())
