"""A commented configuration to start from: what users change of a shipped one, the rest by
`_BASE_`."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from ppdet_lite.core.config import Config
from ppdet_lite.core.dump import dump_yaml
from ppdet_lite.core.workspace import load_config

HEAD = """# {name} on data of your own.
#
# Change what stands here; all other keys come from _BASE_. Every value, and where it comes from:
#   ppdet train -c {file} --print-config
# Train, with checkpoints and train.log in output/{stem}; then evaluate, and detect:
#   ppdet train -c {file} --eval
#   ppdet eval -c {file} -o weights=output/{stem}/best_model
#   ppdet infer -c {file} -o weights=output/{stem}/best_model --image_dir photos
_BASE_: {name}
"""


WEIGHTS = """\
# pretrain_weights: what the training starts from, a file, an https address, or null for random
# weights. Those of a whole detector fit as well: layers of equal name and shape are taken.
# weights: those of ppdet eval, infer and export.
"""


class _Part(NamedTuple):
    """Keys that are written together; a key of two parts is one of a section."""

    comment: str
    keys: tuple[str, ...]


PARTS = (
    _Part(
        """Number of classes, without a background. The names come from the data.""",
        ("num_classes",),
    ),
    _Part(
        """AP by the COCO protocol, or VOC: mAP at an IoU of 0.5.""",
        ("metric", "map_type"),
    ),
    _Part(
        """The data. dataset_dir is the root; image_dir and anno_path lie below it. By `name`:
COCODataSet  anno_path: one JSON of COCO's form
VOCDataSet   anno_path: a list of images and XML files; label_list: the class names, a line each
YOLODataSet  image_dir: images, with text files in labels/ or beside them; names in data.yaml""",
        ("TrainDataset", "EvalDataset"),
    ),
    _Part(
        """Class names for detection on images, where the weights state none.""",
        ("TestDataset",),
    ),
    _Part(
        """Images of one step on each GPU: less if the memory does not suffice. The learning rate is
base_lr x images of a step on all GPUs / reference_batch_size, so it follows by itself.""",
        ("TrainReader.batch_size", "EvalReader.batch_size"),
    ),
    _Part("""Processes that read images, for each GPU.""", ("worker_num",)),
    _Part(
        """Length of the training, and epochs between checkpoints (with --eval: evaluations).""",
        ("epoch", "snapshot_epoch"),
    ),
    _Part(
        """Learning rate. Milestones and max_epochs are in epochs, warm-up `steps` in iterations:
shorten them with the training. An epoch has images / images of a step iterations.""",
        ("LearningRate",),
    ),
)


def starting_point(config: str, file: str = "my.yml") -> str:
    """The text of a configuration that is based on the shipped one of this name, with its values.

    Args:
        file: name of the file that the text will stand in, for its comments and for `weights`.

    Raises:
        ConfigError: there is no configuration of this name.
    """
    cfg = load_config(config, validate=False)
    stem = file.rpartition("/")[2].rpartition(".")[0] or file
    lines = [HEAD.format(name=_base(cfg, config), file=file, stem=stem)]
    for part in PARTS:
        values = _values(cfg, part.keys)
        if values:
            comment = "".join(f"# {line}\n" for line in part.comment.splitlines())
            lines.append(comment + dump_yaml(values))
    weights = {"pretrain_weights": cfg.get("pretrain_weights")}
    weights["weights"] = f"{cfg.settings.save_dir}/{stem}/best_model"
    return "\n".join([*lines, WEIGHTS + dump_yaml(weights)])


def _base(cfg: Config, config: str) -> str:
    """What `_BASE_` names: the shipped name, or the file as it was given."""
    from ppdet_lite.core.shipped import shipped_configs

    return cfg.name if shipped_configs().get(cfg.name) == cfg.path else str(config)


def _values(cfg: Config, keys: tuple[str, ...]) -> dict[str, Any]:
    """The values of the keys that the configuration has, in sections."""
    found: dict[str, Any] = {}
    for key in keys:
        section, _, last = key.rpartition(".")
        holder: Optional[Any] = cfg.get(section) if section else cfg
        if isinstance(holder, dict) and last in holder:
            target = found.setdefault(section, {}) if section else found
            target[last] = holder[last]
    return found
