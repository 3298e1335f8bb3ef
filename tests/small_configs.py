"""Shipped configurations made small: their own reader, loss, optimizer and schedule, with narrow
layers on images of 64 pixels.
"""

from pathlib import Path

from ppdet_lite.core.workspace import load_config

SIDE = 64
SIZE_KEYS = ("target_size", "input_dim", "size", "image_shape")


def shrink(value):
    """In a part of a configuration: every size of images becomes one of 32 or 64 pixels."""
    if isinstance(value, list):
        for entry in value:
            shrink(entry)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if key in SIZE_KEYS:
                value[key] = small_size(entry, drawn=bool(value.get("random_size")))
            else:
                shrink(entry)


def small_size(size, drawn: bool):
    if isinstance(size, int):
        return SIDE
    if drawn:  # a list to draw from
        return [SIDE // 2, SIDE] if len(size) > 1 else [SIDE]
    return [3, SIDE, SIDE] if len(size) == 3 else [SIDE, SIDE]


def small_config(path: Path, data: Path, folder: Path, *changes: str):
    """The configuration at `path` on four images of `data` in batches of two, with `changes`."""
    own = load_config(path)
    sets = {"train": ["sample_num: 4"], "val": []}
    overrides = [
        "num_classes=2",
        "use_gpu=false",
        "worker_num=0",
        "seed=3",
        "report=false",
        "epoch=1",
        "accumulate_steps=1",
        "pretrain_weights=null",
        "LearningRate.allow_long_warmup=true",  # of 4000 steps, in most of them
        f"save_dir={folder}",
        f"width_mult={min(0.125, own.get('width_mult', 1.0))}",
        "TrainReader.batch_size=2",
    ]
    for split, more in sets.items():
        place = [
            f"dataset_dir: {data}",
            "image_dir: images",
            f"anno_path: annotations/{split}.json",
        ]
        text = ", ".join(["name: COCODataSet", *place, *more])
        overrides.append(f"{'Train' if split == 'train' else 'Eval'}Dataset={{{text}}}")
    if path.stem.endswith("_demo"):  # as many steps as on the demo's images
        overrides.append("LearningRate.schedulers.LinearWarmup.epochs=15")
    if own.architecture.endswith("YOLOX"):  # in units of 32 pixels
        overrides.append(f"{own.architecture}.size_range=[2, 2]")
    cfg = load_config(path, [*overrides, *changes])
    for section in ("TrainReader", "EvalReader", "TestReader"):
        shrink(cfg[section])
    return cfg
