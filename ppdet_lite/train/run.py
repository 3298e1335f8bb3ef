"""A training run: put together from a configuration, then trained."""

import contextlib
import logging
import os
import warnings
from typing import Iterator, Optional

import paddle
from paddle import nn
from paddle.optimizer.lr import LRScheduler

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import UserError
from ppdet_lite.core.settings import RuntimeSettings
from ppdet_lite.core.workspace import create, merge_config
from ppdet_lite.device.ranks import Ranks, barrier, init_ranks
from ppdet_lite.device.select import prepare_device
from ppdet_lite.evaluate.checks import check_input_sizes
from ppdet_lite.evaluate.evaluator import Evaluator
from ppdet_lite.modeling.build_detector import build_detector
from ppdet_lite.modeling.layers.norm import synchronize_norms
from ppdet_lite.train.data import TrainingData, evaluator_beside, training_data
from ppdet_lite.train.ema import ModelEMA
from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.train.hooks.evaluation import EvalHook
from ppdet_lite.train.hooks.finite_check import FiniteCheckHook
from ppdet_lite.train.hooks.progress_log import LogHook
from ppdet_lite.train.hooks.saving import BestModelHook, CheckpointHook, CheckpointWriter
from ppdet_lite.train.hooks.visualdl import BatchFormat, VisualDLHook
from ppdet_lite.train.loop import Trainer
from ppdet_lite.train.mixed_precision import Precision
from ppdet_lite.train.seed import set_seed
from ppdet_lite.train.state import TrainState
from ppdet_lite.utils.logger import FileInUse, add_log_file, get_logger, remove_log_file
from ppdet_lite.weights.checkpoint import load_resume, stem_of
from ppdet_lite.weights.download import fetch_weights, is_url
from ppdet_lite.weights.load import load_weights


def run_training(
    cfg: Config,
    *,
    evaluate: bool = False,
    resume: Optional[str] = None,
    amp: Optional[bool] = None,
    use_vdl: bool = False,
    vdl_log_dir: Optional[str] = None,
) -> TrainState:
    """Trains as the configuration says and returns the state at the end; checkpoints and
    `train.log` go to `save_dir/<config name>`.

    Args:
        evaluate: evaluate at every snapshot and keep `best_model`.
        resume: a checkpoint to go on from, with or without suffix.
        amp: mixed precision; None = as `cfg.amp` says.
        use_vdl: write a VisualDL log.
        vdl_log_dir: its folder, `vdl` in the output folder by default.

    Raises:
        UserError: data, configuration or weights do not fit, or the loss is no longer finite.
        KeyboardInterrupt: stopped by Ctrl-C, after saving the state.
    """
    if amp is not None:
        cfg = merge_config(cfg, {"amp": amp}, source="run_training")
    # Paddle says so for every batch norm layer; it is what everybody expects.
    warnings.filterwarnings("ignore", message="When training, we now always track global mean")
    device = prepare_device(cfg.settings.use_gpu, cfg.settings.cpu_threads)
    ranks = init_ranks()
    vdl_folder = (vdl_log_dir or os.path.join(cfg.output_folder, "vdl")) if use_vdl else None
    options: dict = {"evaluate": evaluate, "resume": resume, "vdl_folder": vdl_folder}
    with _training_log(cfg.output_folder):
        trainer = build_trainer(cfg, device, ranks, **options)
        trainer.run()
        return trainer.state


@contextlib.contextmanager
def _training_log(folder: str) -> Iterator[None]:
    """`train.log`, which this run holds locked, so that no second run mixes its checkpoints with
    ours; an error that ends the run stands in it, too.
    """
    try:
        log_file = add_log_file(os.path.join(folder, "train.log"), exclusive=True)
    except FileInUse:
        problem = f"another training run is writing to {folder}. Wait for it, or"
        raise UserError(f"{problem} set another save_dir") from None
    except OSError as error:
        problem = f"cannot write to {folder}: {error.strerror}"
        raise UserError(f"{problem}; set another save_dir") from None
    try:
        yield
    except UserError as error:
        if log_file is not None:  # the terminal gets it from the tool, at the very end
            facts = {"levelno": logging.ERROR, "levelname": "ERROR"}
            text = f"{type(error).__name__}: {error}"
            log_file.handle(logging.makeLogRecord({**facts, "msg": text}))
        raise
    finally:
        remove_log_file(log_file)


def build_trainer(
    cfg: Config,
    device: str,
    ranks: Ranks,
    *,
    evaluate: bool = False,
    resume: Optional[str] = None,
    vdl_folder: Optional[str] = None,
) -> Trainer:
    """Everything up to the first step; see `run_training` for arguments and errors."""
    saved = load_resume(resume) if resume else None  # before minutes of loading data
    precision = Precision(cfg.settings, device)
    seed = _seed(cfg.settings.seed, ranks, saved)
    data = training_data(cfg, seed, ranks)
    evaluator = evaluator_beside(cfg, data.reader.dataset) if evaluate else None
    model = build_detector(cfg)
    for reader in [data.reader] + ([evaluator.reader] if evaluator else []):
        check_input_sizes(reader, model)
    for line in model.remarks(cfg.settings.epoch, data.mosaic_epoch):
        get_logger().warning(line)
    if saved is None:
        _load_pretrained(model, cfg.settings, ranks)
    if synchronizes_norms(cfg.settings.norm_type, device, ranks):
        synchronize_norms(model)
    scheduler = _scheduler(cfg, data)
    optimizer = create("OptimizerBuilder", cfg)(scheduler, model.parameters())
    model, optimizer = precision.prepare(model, optimizer)
    state = TrainState(
        model,
        optimizer,
        scheduler,
        seed=seed,
        batch_setting=data.batch_setting,
        ema=ModelEMA.from_settings(cfg.settings, model),
        precision=precision,
        ranks=ranks,
    )
    if saved is not None:
        _go_on_from(saved, stem_of(str(resume)), state, cfg.settings.epoch)
    return Trainer(
        state,
        data.reader,
        epochs=cfg.settings.epoch,
        steps_per_epoch=data.steps_per_epoch,
        hooks=_hooks(cfg, data, evaluator, vdl_folder if ranks.rank == 0 else None),
        accumulate_steps=data.accumulate_steps,
        parallel=paddle.DataParallel(model) if ranks.world_size > 1 else None,
    )


def _seed(wanted: Optional[int], ranks: Ranks, saved: Optional[dict]) -> int:
    """The seed of a run, which a resumed one keeps."""
    if saved is None:
        return set_seed(wanted, ranks)
    seed = saved["progress"]["seed"]
    if wanted not in (None, seed):
        text = "The run being resumed used seed %d; seed %d is ignored."
        get_logger().warning(text, seed, wanted)
    return set_seed(seed, ranks)


def _load_pretrained(model: nn.Layer, settings: RuntimeSettings, ranks: Ranks) -> None:
    path = settings.pretrain_weights
    if not path:
        get_logger().info("No pretrain_weights: training starts from random weights.")
        return
    if is_url(path):
        if ranks.rank == 0:
            fetch_weights(path)
        barrier(ranks)
        path = fetch_weights(path)
    partial = settings.allow_partial_weights
    for line in load_weights(model, path, allow_partial=partial, part_of_model=True).lines():
        get_logger().info(line)


def synchronizes_norms(norm_type: str, device: str, ranks: Ranks) -> bool:
    """True for batch norms with statistics over all GPUs; Paddle has none for the CPU."""
    return norm_type == "sync_bn" and ranks.world_size > 1 and device.startswith("gpu")


def _scheduler(cfg: Config, data: TrainingData) -> LRScheduler:
    """The learning rate for the real total batch; prints how it came about."""
    curve, order = create("LearningRate", cfg), data.reader.order
    rate, arithmetic = curve.scaled_lr(order.world_size, order.batch_size, data.accumulate_steps)
    get_logger().info(arithmetic)
    steps, epochs = data.steps_per_epoch, cfg.settings.epoch
    total, warmup = epochs * steps, curve.warmup_steps(steps)
    text = "%d epochs x %d steps = %d iterations, %d of them warm-up"
    get_logger().info(text, epochs, steps, total, min(warmup, total))
    for line in curve.remarks(steps, epochs):
        get_logger().warning(line)
    return curve(steps, epochs, rate)


def _go_on_from(saved: dict, stem: str, state: TrainState, epochs: int) -> None:
    """Brings `state` to where a checkpoint left it, and says where that is."""
    for remark in state.set_state_dict(saved, stem):
        get_logger().warning("Resuming %s: %s", stem, remark)
    best = f", best so far {state.best['value']:.4f}" if state.best else ""
    text = "Resumed from %s: epoch %d, step %d, iteration %d%s"
    get_logger().info(text, stem, state.epoch, state.step_in_epoch, state.iteration, best)
    if state.epoch >= epochs:
        text = "That run is complete: it has %d epochs. Raise the key epoch to train on."
        get_logger().warning(text, state.epoch)


def _hooks(
    cfg: Config, data: TrainingData, evaluator: Optional[Evaluator], vdl_folder: Optional[str]
) -> list[Hook]:
    """The hooks in their order: the check before everything, checkpoints before the evaluation
    (which may fail), best_model after it.
    """
    settings, reader = cfg.settings, data.reader
    facts = {
        "class_names": list(reader.dataset.class_names),
        "category_ids": [int(number) for number in reader.dataset.category_ids],
        "config": cfg.name,
    }
    writer = CheckpointWriter(cfg.output_folder, facts)
    hooks: list[Hook] = [
        FiniteCheckHook(),
        LogHook(settings.log_iter, reader.worker_num, reader.data.cache_settings is not None),
        CheckpointHook(writer, settings.snapshot_epoch),
    ]
    if evaluator is not None:
        hooks += [EvalHook(evaluator, settings.snapshot_epoch), BestModelHook(writer)]
    if vdl_folder is not None:
        batch_format = BatchFormat.after([*reader.sample_transforms, *reader.batch_transforms])
        hooks.append(VisualDLHook(vdl_folder, settings.log_iter, batch_format))
    return hooks
