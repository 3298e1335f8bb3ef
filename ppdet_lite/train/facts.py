"""Facts about a training run, for the people who look at its page."""

import datetime
import platform
from typing import Mapping, Optional

import paddle

from ppdet_lite import __version__
from ppdet_lite.core.config import Config
from ppdet_lite.data.reader.readers import Reader
from ppdet_lite.data.sources.dataset import Dataset


def run_facts(
    cfg: Config,
    reader: Reader,
    evaluated: Optional[Dataset],
    batch_setting: Mapping[str, int],
    *,
    device: str,
    parameters: int,
    seed: int,
) -> dict[str, str]:
    """Name -> text.

    Args:
        evaluated: the data of the evaluations; None where there are none.
        batch_setting: that of the run's state.
        parameters: number of trained values of the model.
    """
    dataset, settings = reader.dataset, cfg.settings
    sizes = [batch_setting[key] for key in ("processes", "batch_size", "accumulate_steps")]
    total = sizes[0] * sizes[1] * sizes[2]
    batch = f"{total} images ({sizes[0]} process x {sizes[1]} x {sizes[2]} accumulated)"
    names = ", ".join(map(str, dataset.class_names))
    return {
        "configuration": cfg.name,
        "network": f"{settings.architecture}, {parameters / 1e6:.2f} million parameters",
        "training data": f"{dataset.name}: {len(dataset):,} images",
        "evaluation data": f"{evaluated.name}: {len(evaluated):,} images" if evaluated else "none",
        "classes": f"{len(dataset.class_names)}: {names}",
        "epochs": str(settings.epoch),
        "steps per epoch": f"{batch_setting['steps_per_epoch']:,}",
        "batch": batch,
        "average": f"EMA, {settings.ema_decay}" if settings.use_ema else "none",
        "precision": f"mixed, {settings.amp_level}" if settings.amp else "float32",
        "start weights": settings.pretrain_weights or "random",
        "seed": str(seed),
        "device": _device_name(device),
        "versions": f"ppdet_lite {__version__}, Paddle {paddle.__version__}, "
        f"Python {platform.python_version()}",
        "started": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
    }


def _device_name(device: str) -> str:
    if device.startswith("gpu"):
        return f"{device}, {paddle.device.cuda.get_device_name()}"
    return device
