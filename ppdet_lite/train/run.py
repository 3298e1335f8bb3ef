"""Puts a training run together from a configuration: the parts, the checks before the first step,
the hooks and their order.
"""

import logging
import os
import warnings
from typing import Optional

import paddle

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.core.workspace import create, merge_config
from ppdet_lite.data.transforms.box_formats import BboxXYXY2XYWH, NormalizeBox
from ppdet_lite.data.transforms.normalize import NormalizeImage
from ppdet_lite.device.ranks import Ranks, barrier, init_ranks
from ppdet_lite.device.select import normalizes_on_device, prepare_device
from ppdet_lite.evaluate.checks import (
    check_files,
    check_input_sizes,
    name_of,
    output_folder,
)
from ppdet_lite.evaluate.classes import check_class_count, check_class_order
from ppdet_lite.modeling.build_detector import build_detector
from ppdet_lite.modeling.layers.norm import synchronize_norms
from ppdet_lite.train.ema import ModelEMA
from ppdet_lite.train.hooks.evaluation import EvalHook
from ppdet_lite.train.hooks.finite_check import GuardHook
from ppdet_lite.train.hooks.progress_log import LogHook
from ppdet_lite.train.hooks.saving import BestModelHook, CheckpointHook
from ppdet_lite.train.hooks.visualdl import VisualDLHook
from ppdet_lite.train.hooks.weight_average import EMAHook
from ppdet_lite.train.loop import Trainer
from ppdet_lite.train.mixed_precision import Precision
from ppdet_lite.train.preflight import check_batches, set_seed, warn_of_settings
from ppdet_lite.train.state import TrainState
from ppdet_lite.utils.logger import FileInUse, add_log_file, get_logger, remove_log_file
from ppdet_lite.weights.checkpoint import load_resume, stem_of
from ppdet_lite.weights.download import fetch_weights, is_url
from ppdet_lite.weights.load import load_weights


def run_training(
    cfg,
    *,
    evaluate: bool = False,
    resume: Optional[str] = None,
    amp: Optional[bool] = None,
    use_vdl: bool = False,
    vdl_log_dir: Optional[str] = None,
) -> TrainState:
    """Trains as the configuration says; checkpoints and `train.log` go to `save_dir/<config name>`.

    Args:
        cfg: the configuration.
        evaluate: evaluate at every snapshot and keep `best_model`.
        resume: a checkpoint to go on from, with or without suffix.
        amp: mixed precision; None = as `cfg.amp` says.
        use_vdl: write a VisualDL log.
        vdl_log_dir: its folder, `vdl` in the output folder by default.

    Returns:
        the state at the end.

    Raises:
        UserError: data, configuration or weights do not fit, or the loss is no longer finite.
        KeyboardInterrupt: stopped by Ctrl-C, after saving the state.
    """
    if amp is not None:
        cfg = merge_config(cfg, {"amp": amp}, source="--amp")
    # Paddle says so for every batch norm layer; it is what everybody expects.
    warnings.filterwarnings("ignore", message="When training, we now always track global mean")
    device = prepare_device(cfg.get("use_gpu", True), cfg.get("cpu_threads"))
    ranks = init_ranks()
    folder = output_folder(cfg)
    log_file = _open_log(folder)
    try:
        trainer = build_trainer(cfg, device, ranks, folder, evaluate, resume)
        if use_vdl and ranks.rank == 0:
            trainer.hooks.append(_vdl_hook(cfg, trainer.reader, vdl_log_dir, folder))
        trainer.run()
        return trainer.state
    except UserError as error:
        if log_file is not None:  # the terminal gets it from the tool, at the very end
            log_file.handle(_log_record(f"{type(error).__name__}: {error}"))
        raise
    finally:
        remove_log_file(log_file)


def _open_log(folder: str):
    """Starts `train.log`, which this run holds locked, so that no second run mixes its checkpoints
    with ours.
    """
    try:
        return add_log_file(os.path.join(folder, "train.log"), exclusive=True)
    except FileInUse:
        raise UserError(
            f"another training run is writing to {folder}. Wait for it, or give this one another "
            "folder with -o save_dir=."
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}. Choose another folder with -o save_dir=."
        ) from None


def _log_record(text: str) -> logging.LogRecord:
    return logging.LogRecord("ppdet_lite", logging.ERROR, __file__, 0, text, None, None)


def build_trainer(
    cfg, device: str, ranks: Ranks, folder: str, evaluate: bool, resume: Optional[str]
) -> Trainer:
    """Everything up to the first step. Reads the resume file first, so that a wrong path is
    reported before minutes of loading data.
    """
    resume_state = load_resume(resume) if resume else None
    seed = set_seed(cfg, ranks)
    reader = create("TrainReader", cfg).bound(
        seed=seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
        raw_pixels=normalizes_on_device(),
    )
    dataset = reader.dataset
    evaluator = _checked_evaluator(cfg, dataset, evaluate)
    accumulate_steps = int(cfg.get("accumulate_steps", 1) or 1)
    steps_per_epoch = check_batches(reader, dataset, accumulate_steps)
    for line in getattr(dataset, "report_lines", ()):
        get_logger().info(line)
    check_files(dataset, reader.max_bad_fraction)

    model = build_detector(cfg)
    check_input_sizes(reader, model)
    warn_of_settings(reader, model, int(cfg.epoch))
    if evaluator is not None:
        check_input_sizes(evaluator.reader, model)
    if resume_state is None:
        _load_pretrained(model, cfg, ranks)
    if _wants_sync_bn(cfg, device, ranks):
        synchronize_norms(model)
    scheduler = _learning_rate(cfg, ranks, reader, accumulate_steps, steps_per_epoch)
    optimizer = create("OptimizerBuilder", cfg)(scheduler, model.parameters())
    precision = Precision.from_config(cfg, device)
    model, optimizer = precision.prepare(model, optimizer)
    state = TrainState(model, optimizer, scheduler, seed, _ema(cfg, model), precision, ranks)
    state.batch_setting = {
        "images": len(dataset),
        "batch_size": reader.batch_size,
        "processes": ranks.world_size,
        "accumulate_steps": accumulate_steps,
        "steps_per_epoch": steps_per_epoch,
    }
    if resume_state is not None:
        _take_up(state, resume_state, stem_of(resume), cfg)
        reader = reader.bound(seed=state.seed)
    meta = {
        "class_names": list(dataset.class_names),
        "category_ids": [int(number) for number in dataset.category_ids],
        "config": cfg.name,
    }
    return Trainer(
        state,
        reader,
        int(cfg.epoch),
        steps_per_epoch,
        _hooks(cfg, folder, meta, evaluator),
        accumulate_steps,
        network=paddle.DataParallel(model) if ranks.world_size > 1 else None,
    )


def _checked_evaluator(cfg, dataset, evaluate: bool):
    """Compares the data with the config; the evaluator, made now so that its data is checked too.

    Returns None without `evaluate`.
    """
    check_class_count(cfg, dataset)
    if not evaluate:
        return None
    if cfg.get("EvalDataset") is None:
        raise ConfigError("--eval: EvalDataset is missing in the configuration")
    from ppdet_lite.evaluate.evaluator import Evaluator  # training alone needs no metric packages

    eval_dataset = create("EvalDataset", cfg)
    check_class_order(name_of(dataset), dataset.class_names, eval_dataset)
    check_files(eval_dataset)
    return Evaluator(cfg, dataset=eval_dataset)


def _hooks(cfg, folder: str, meta: dict, evaluator) -> list:
    """The hooks in their order: the check before everything, checkpoints before the evaluation
    (which may fail), best_model after it.
    """
    snapshot_epoch = int(cfg.get("snapshot_epoch", 1))
    hooks = [
        GuardHook(),
        EMAHook(),
        LogHook(int(cfg.get("log_iter", 20))),
        CheckpointHook(folder, snapshot_epoch, meta),
    ]
    if evaluator is not None:
        hooks += [EvalHook(evaluator, snapshot_epoch), BestModelHook(folder, meta)]
    return hooks


def _vdl_hook(cfg, reader, vdl_log_dir: Optional[str], folder: str) -> VisualDLHook:
    transforms = [*reader.sample_transforms, *reader.batch_transforms]
    normalization = next((t for t in transforms if isinstance(t, NormalizeImage)), None)
    return VisualDLHook(
        vdl_log_dir or os.path.join(folder, "vdl"),
        int(cfg.get("log_iter", 20)),
        normalization.settings if normalization is not None else {},
        centers=any(isinstance(t, BboxXYXY2XYWH) for t in transforms),
        fractions=any(isinstance(t, NormalizeBox) for t in transforms),
    )


def _wants_sync_bn(cfg, device: str, ranks: Ranks) -> bool:
    """Statistics over all GPUs; Paddle has no such layer for the CPU."""
    return (
        cfg.get("norm_type", "bn") == "sync_bn"
        and ranks.world_size > 1
        and device.startswith("gpu")
    )


def _load_pretrained(model, cfg, ranks: Ranks) -> None:
    path = cfg.get("pretrain_weights")
    if not path:
        get_logger().info("No pretrain_weights: training starts from random weights.")
        return
    if is_url(path):
        if ranks.rank == 0:
            fetch_weights(path)
        barrier(ranks)
        path = fetch_weights(path)
    report = load_weights(
        model, path, allow_partial=cfg.settings.allow_partial_weights, part_of_model=True
    )
    for line in report.lines():
        get_logger().info(line)


def _learning_rate(cfg, ranks: Ranks, reader, accumulate_steps: int, steps_per_epoch: int):
    """The schedule for the real total batch; prints how the rate came about."""
    curve = create("LearningRate", cfg)
    rate, arithmetic = curve.scaled_lr(ranks.world_size, reader.batch_size, accumulate_steps)
    get_logger().info(arithmetic)
    epochs = int(cfg.epoch)
    total = epochs * steps_per_epoch
    warmup = curve.warmup_steps(steps_per_epoch)
    get_logger().info(
        "%d epochs x %d steps = %d iterations, %d of them warm-up",
        epochs,
        steps_per_epoch,
        total,
        min(warmup, total),
    )
    for line in curve.remarks(steps_per_epoch, epochs):
        get_logger().warning(line)
    return curve(steps_per_epoch, epochs, rate)


def _ema(cfg, model) -> Optional[ModelEMA]:
    if not cfg.get("use_ema", False):
        return None
    return ModelEMA(
        model,
        cfg.get("ema_decay", 0.9998),
        cfg.get("ema_decay_type", "threshold"),
        bool(cfg.get("ema_filter_no_grad", False)),
    )


def _take_up(state: TrainState, saved: dict, stem: str, cfg) -> None:
    if cfg.get("seed") is not None and saved["progress"]["seed"] != state.seed:
        get_logger().warning(
            "The run being resumed used seed %d; seed %d is ignored.",
            saved["progress"]["seed"],
            state.seed,
        )
    for remark in state.set_state_dict(saved, stem):
        get_logger().warning("Resuming %s: %s", stem, remark)
    best = f", best so far {state.best['value']:.4f}" if state.best else ""
    get_logger().info(
        "Resumed from %s: epoch %d, step %d, iteration %d%s",
        stem,
        state.epoch,
        state.step_in_epoch,
        state.iteration,
        best,
    )
    if state.epoch >= int(cfg.epoch):
        get_logger().warning(
            "That run is complete: it has %d epochs. Raise -o epoch to train on.", state.epoch
        )
