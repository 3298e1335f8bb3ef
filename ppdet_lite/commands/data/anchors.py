"""Makes anchors for a data set: k-means on IoU, then random changes that fit the objects better."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ppdet_lite.cli.tool import tool_parser
from ppdet_lite.core.errors import ConfigError

if TYPE_CHECKING:
    from ppdet_lite.core.config import Config
    from ppdet_lite.data.sources.dataset import Dataset

EXAMPLES = """  ppdet data anchors -c ppyolov2_r50vd_dcn_voc
                                                 the TrainDataset that it names
  ppdet data anchors dataset/my_photos -c ppyolov2_r50vd_dcn_voc
                                                 a folder, for the network of a configuration
  ppdet data anchors --annotations train.json --size 608 > anchors.yml

Recall is the share of the objects with an anchor that overlaps them by more than the threshold of
the assignment (key iou_thresh); the other figure is the mean overlap with the best anchor. Images
are resized as in the evaluation, whose size --size replaces; the crops of the training are not
looked at. Everything printed is YAML for head and reader, with the figures as comments.
"""
BEST_ONLY = 0.5
"""Threshold of the recall where the assignment has none: objects have their best anchor only."""


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = tool_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    text = "the data set; its layout is recognized, its train split is used"
    add("folder", nargs="?", type=Path, metavar="FOLDER", help=text)
    text = "which of several layouts to read, as an error lists them"
    add("--data_format", metavar="FORMAT", help=text)
    text = "COCO annotations, in the place of FOLDER"
    add("--annotations", type=Path, metavar="JSON", help=text)
    text = "configuration with the anchors, the network input, and without FOLDER the data set"
    add("-c", "--config", metavar="FILE", help=text)
    text = "with -c: change keys"
    add("-o", "--opt", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=text)
    text = "height and width of the network input, one number for both (default: of the evaluation)"
    add("--size", nargs="+", type=int, metavar="PIXELS", help=text)
    text = "without -c: images are fitted into the input with their own shape"
    add("--keep_ratio", "--keep-ratio", action="store_true", help=text)
    text = "number of anchors of all levels together (default: as now, without -c 9 of 3 levels)"
    add("--anchors", dest="count", type=int, metavar="N", help=text)
    text = f"overlap of the recall (default: iou_thresh; {BEST_ONLY} where there is none)"
    add("--threshold", type=float, metavar="IOU", help=text)
    text = "random changes to try after k-means (default: 1000)"
    add("--generations", type=int, default=1000, metavar="N", help=text)
    add("--seed", type=int, default=0, metavar="N", help="of the search (default: 0)")
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    _check(args)
    from ppdet_lite.core.workspace import load_config
    from ppdet_lite.data.anchors import find_anchors, fit_of, object_sizes
    from ppdet_lite.train.own_data import anchor_sections as sections

    cfg = load_config(args.config, args.opt) if args.config else None
    now = sections.anchor_settings(cfg) if cfg is not None else None
    head, present = (now.head, now.anchors) if now else ("YOLOv3Head", None)
    masks = now.masks if now and not args.count else sections.masks_for(args.count or 9, now)
    threshold, key = (now.threshold, now.threshold_key) if now else (None, "")
    if args.threshold is not None:
        threshold, key = args.threshold, "threshold"
    elif threshold is None:
        threshold, key = BEST_ONLY, "an object has its best anchor only"
    input_hw, keep_ratio = _input(args, cfg)
    dataset = _dataset(args, cfg)
    sizes = object_sizes(dataset, input_hw, keep_ratio)
    start = time.monotonic()
    options: dict[str, Any] = {"seed": args.seed, "generations": args.generations}
    count = args.count or (len(present) if present is not None else 9)
    found = find_anchors(sizes, count, threshold=threshold, present=present, **options)
    seconds = time.monotonic() - start
    rows = [] if present is None else [("before", fit_of(sizes, present, threshold))]
    rows.append(("after", fit_of(sizes, found, threshold)))
    at = f"{input_hw[0]} x {input_hw[1]}" + (" (own shape kept)" if keep_ratio else "")
    print(f"# {dataset.name}: {len(sizes)} objects at {at}")
    print(f"#         recall at {threshold:g}   mean best IoU   ({key})")
    for name, fit in rows:
        print(f"# {name:6}  {100 * fit.recall:12.2f}%  {fit.mean_iou:14.4f}")
    print(f"# seed {args.seed}, {args.generations} generations, {seconds:.1f} s")
    print(sections.anchors_yaml(head, found.tolist(), masks, cfg), end="")


def _check(args: argparse.Namespace) -> None:
    if args.folder and args.annotations:
        raise ConfigError("give either FOLDER or `annotations`")
    if not (args.folder or args.annotations or args.config):
        raise ConfigError("give FOLDER, `annotations` or `config`")
    lowest = {"seed": 0, "generations": 0, "count": 1}
    for name, least in lowest.items():
        if (found := getattr(args, name)) is not None and found < least:
            raise ConfigError(f"`{name}`: found {found}, allowed: {least} or more")
    if args.threshold is not None and not 0 < args.threshold < 1:
        raise ConfigError(f"`threshold`: found {args.threshold:g}, allowed: between 0 and 1")
    if args.size and (len(args.size) > 2 or min(args.size) < 1):
        shown = " ".join(map(str, args.size))
        raise ConfigError(f"`size`: found {shown}, allowed: one or two numbers above 0")


def _input(args: argparse.Namespace, cfg: Optional[Config]) -> tuple[tuple[int, int], bool]:
    from ppdet_lite.train.own_data.anchor_sections import input_of

    size = (args.size[0], args.size[-1]) if args.size else None
    if cfg is not None:
        return input_of(cfg, size)
    if size is None:
        raise ConfigError("`size`: missing, needed without `config`")
    return size, args.keep_ratio


def _dataset(args: argparse.Namespace, cfg: Optional[Config]) -> Dataset:
    if args.annotations:
        from ppdet_lite.data.sources.coco import COCODataSet

        return COCODataSet(anno_path=str(args.annotations))
    if args.folder:
        from ppdet_lite.data.folder.recognize import recognize

        reading = recognize(args.folder, args.data_format)
        return reading.dataset(next(iter(reading.sections)))
    from ppdet_lite.core.workspace import create
    from ppdet_lite.data.sources.dataset import as_dataset

    assert cfg is not None
    if not cfg.get("TrainDataset"):
        raise ConfigError("TrainDataset: missing; give FOLDER or `annotations`")
    return as_dataset(create("TrainDataset", cfg))
