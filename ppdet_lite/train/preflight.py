"""What is settled before a run starts: device, processes, seed, and that data and config agree."""

import ctypes
import os
import random
import secrets
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paddle
from paddle import distributed

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.sources.label_lists import compare_class_names
from ppdet_lite.utils.cpu import core_count, prefer_fast_blas
from ppdet_lite.utils.logger import get_logger

_NAMES_SHOWN = 10
_FILES_SHOWN = 3


class Ranks(NamedTuple):
    """This process among those that train together."""

    rank: int = 0
    world_size: int = 1


SINGLE_PROCESS = Ranks()


def prepare_device(cfg) -> str:
    """Selects the device that `use_gpu` asks for and returns its name (`gpu:0` or `cpu`).

    A config that wants a GPU runs on the CPU when there is none, and says so once.
    """
    has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if cfg.get("use_gpu", True) and has_gpu:
        device = f"gpu:{distributed.ParallelEnv().device_id}"
    else:
        device = "cpu"
        if cfg.get("use_gpu", True):
            reason = (
                "this Paddle was built without CUDA"
                if not paddle.is_compiled_with_cuda()
                else "no GPU is visible"
            )
            get_logger().info("Running on the CPU: %s.", reason)
        prefer_fast_blas()
        use_cpu_cores(cfg.get("cpu_threads") or _fair_share_of_cores())
    paddle.set_device(device)
    return device


def normalizes_on_device() -> bool:
    """Whether batches go to the device as uint8 pixels and are normalized there: a quarter of the
    bytes to copy, and less work for the processor. On a CPU the reader's one pass is faster.
    """
    return paddle.get_device() != "cpu"


def _fair_share_of_cores() -> int:
    processes = int(os.environ.get("PADDLE_TRAINERS_NUM", "1") or 1)
    return max(1, core_count() // processes)


def use_cpu_cores(threads: int) -> bool:
    """Lets Paddle's CPU kernels use so many threads; returns whether that was possible.

    Importing Paddle limits them to one, and Paddle has no function to change it afterwards: the
    OpenMP runtime that it ships is told directly. Where it ships none, the limit stays.
    """
    folder = Path(paddle.__file__).parent / "libs"
    runtimes = [folder / name for name in ("libiomp5.so", "libiomp5md.dll")]
    found = [path for path in runtimes if path.is_file()]
    for path in found:
        ctypes.CDLL(str(path)).omp_set_num_threads(int(threads))
    return bool(found)


def output_folder(cfg) -> str:
    """`save_dir/<config name>`; a `~` is the home folder, which shells leave alone after `key=`."""
    return os.path.join(os.path.expanduser(cfg.get("save_dir", "output")), cfg.name)


def init_ranks() -> Ranks:
    """Joins the other processes when started by `python -m paddle.distributed.launch`."""
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1") or 1) <= 1:
        return Ranks()
    if not distributed.is_initialized():
        distributed.init_parallel_env()
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def barrier(ranks: Ranks) -> None:
    """Waits until every process is here."""
    if ranks.world_size > 1:
        distributed.barrier()


def set_seed(cfg, ranks: Ranks = SINGLE_PROCESS) -> int:
    """Seeds Python, numpy and Paddle from `cfg.seed`; draws and prints a seed when it is null.

    All processes end up with the same seed, so they also start from the same weights.
    """
    seed = cfg.get("seed")
    if seed is None:
        seed = secrets.randbelow(2**31)
        if ranks.world_size > 1:
            shared = paddle.to_tensor([seed], dtype="int64")
            distributed.broadcast(shared, src=0)
            seed = int(shared.item())
        get_logger().info("Seed %d (drawn; -o seed=%d repeats this run)", seed, seed)
    else:
        seed = int(seed)
        get_logger().info("Seed %d", seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    paddle.seed(seed)
    return seed


def seed_step(seed: int, rank: int, iteration: int) -> None:
    """Seeds Paddle's generator for one training step (DropBlock and the like).

    Seeding every step from (seed, rank, iteration) makes a resumed run draw what the uninterrupted
    one would have drawn, without any generator state in the checkpoint.
    """
    sequence = np.random.SeedSequence((seed, rank, iteration))
    paddle.seed(int(sequence.generate_state(1, np.uint32)[0] >> 1))


def check_dataset_against_config(cfg, dataset) -> None:
    """Compares the number of classes of the data with `num_classes`.

    Raises:
        DataError: they differ; names the classes and the override that fixes it.
    """
    names = list(dataset.class_names)
    if len(names) == cfg.num_classes:
        return
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
    raise DataError(
        f"{_name(dataset)} has {len(names)} classes ({shown}) but num_classes is "
        f"{cfg.num_classes} ({cfg.origin('num_classes')}). Use -o num_classes={len(names)} or "
        f"point the config at the data it was made for."
    )


def check_class_order(train_dataset, eval_dataset) -> None:
    """Class i must be the same thing in both data sets.

    Each numbers its classes in the order of its own file, as in PaddleDetection, where another
    order permutes the classes without a word.

    Raises:
        DataError: names or order differ; says where.
    """
    what = compare_class_names(train_dataset.class_names, eval_dataset.class_names)
    if what:
        raise DataError(f"{_name(train_dataset)} and {_name(eval_dataset)} {what}.")


def check_input_sizes(reader, model) -> None:
    """Every size the reader makes must be a multiple of the model's largest stride, because the
    maps of its levels are joined after upsampling.

    Raises:
        ConfigError: names the key, the sizes and the nearest ones that work.
    """
    stride = getattr(model, "largest_stride", 1)
    key, sizes = reader.input_sizes()
    bad = [size for size in sizes if size[0] % stride or size[1] % stride]
    if bad:
        nearest = [max(stride, round(side / stride) * stride) for side in bad[0]]
        found = ", ".join(f"{height} x {width}" for height, width in bad)
        raise ConfigError(
            f"{key}: found {found} (height x width), allowed: multiples of {stride}, for instance "
            f"{nearest[0]} x {nearest[1]}"
        )


def warn_of_last_epochs(reader, model, epochs: int) -> None:
    """Says so when YOLOX's L1 term does not begin in the epoch in which mosaics end, or when the
    training is over before: PaddleDetection's keys state the same moment twice, and `epoch` moves
    neither.
    """
    l1_epoch = getattr(model, "l1_epoch", None)
    mosaic_epoch = reader.mosaic_epoch
    mixes = any(getattr(t, "switched_by", "") == "mosaic_epoch" for t in reader.sample_transforms)
    if l1_epoch is None or not mixes or mosaic_epoch < 0:
        return
    mosaics_end = min(mosaic_epoch or epochs, epochs)  # 0: never
    keys = (
        f"{type(reader).__name__}.mosaic_epoch is {mosaic_epoch}, YOLOXHead.l1_epoch is {l1_epoch} "
        f"and epoch is {epochs}"
    )
    if mosaics_end != min(l1_epoch, epochs):
        get_logger().warning(
            "%s: the L1 term is meant to begin where mosaics end. Give both keys the same epoch.",
            keys,
        )
    elif mosaic_epoch >= epochs:
        get_logger().warning(
            "%s: the training ends before mosaics do, and before the L1 term begins. YOLOX trains "
            "its last 15 epochs without mosaics and with the term; lower both keys for that.",
            keys,
        )


def check_files(dataset, allowed_share: float = 0.0) -> None:
    """Looks for images that are not there, so that hours of work do not end at one of them.

    Args:
        allowed_share: up to this share of missing images there is only a warning, because the
            reader leaves them out.

    Raises:
        DataError: more are missing; names the first.
    """
    if not hasattr(dataset, "missing_files"):  # a user's own data set
        return
    missing = dataset.missing_files(limit=len(dataset))
    if not missing:
        return
    more = f" and {len(missing) - _FILES_SHOWN} more" if len(missing) > _FILES_SHOWN else ""
    what = (
        f"{_name(dataset)}: {len(missing)} of {len(dataset)} images do not exist: "
        f"{', '.join(missing[:_FILES_SHOWN])}{more}."
    )
    if len(missing) > allowed_share * len(dataset):
        raise DataError(f"{what} Correct image_dir or dataset_dir, or the annotations.")
    get_logger().warning("%s They are left out.", what)


def _name(dataset) -> str:
    return str(getattr(dataset, "name", type(dataset).__name__))


def check_batches(reader, dataset, accumulate_steps: int) -> int:
    """Optimizer steps per epoch.

    Raises:
        ConfigError: there would be none; names the keys to change.
    """
    steps = len(reader) // accumulate_steps
    if steps == 0:
        raise ConfigError(
            f"{_name(dataset)} has {len(dataset)} images: with TrainReader.batch_size="
            f"{reader.batch_size}, accumulate_steps={accumulate_steps} and "
            f"{getattr(reader, 'world_size', 1)} process(es) not one step per epoch is left. Use a "
            f"smaller TrainReader.batch_size, TrainReader.drop_last=false, or accumulate_steps=1."
        )
    return steps
