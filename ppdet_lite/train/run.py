"""A training run: put together from a configuration, then trained."""

import contextlib
import logging
import os
import warnings
from pathlib import Path
from typing import Iterator, Optional

import paddle
from paddle import nn
from paddle.optimizer.lr import LRScheduler

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import CheckpointError, ConfigError, UserError
from ppdet_lite.core.settings import RuntimeSettings
from ppdet_lite.core.workspace import create, create_list, merge_config
from ppdet_lite.data.reader.readers import Reader
from ppdet_lite.data.transforms.transform import Transform
from ppdet_lite.device.ranks import Ranks, init_ranks
from ppdet_lite.device.select import prepare_device
from ppdet_lite.evaluate.checks import check_input_sizes, tell_detection_limit
from ppdet_lite.evaluate.evaluator import Evaluator
from ppdet_lite.modeling.build_detector import build_detector
from ppdet_lite.modeling.layers.cross_mini_batch_norm import gather_over_mini_batches
from ppdet_lite.modeling.layers.norm import synchronize_norms
from ppdet_lite.report.run_folder import set_aside
from ppdet_lite.train.data import evaluator_beside, training_reader
from ppdet_lite.train.ema import ModelEMA
from ppdet_lite.train.facts import run_facts
from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.train.hooks.batch_images import BatchImages
from ppdet_lite.train.hooks.curves.batch_format import BatchFormat
from ppdet_lite.train.hooks.curves.choose import curve_hooks
from ppdet_lite.train.hooks.early_stopping import EarlyStoppingHook
from ppdet_lite.train.hooks.finite_check import FiniteCheckHook
from ppdet_lite.train.hooks.layer_progress import LayerProgressHook
from ppdet_lite.train.hooks.progress_log import LogHook
from ppdet_lite.train.hooks.report import ReportHook
from ppdet_lite.train.hooks.results import ResultsHook
from ppdet_lite.train.hooks.retention import RetentionHook
from ppdet_lite.train.hooks.saving import BestModelHook, CheckpointHook, CheckpointWriter, EvalHook
from ppdet_lite.train.loop import Trainer
from ppdet_lite.train.mixed_precision import Precision
from ppdet_lite.train.schedule_pass import SchedulePass
from ppdet_lite.train.seed import set_seed
from ppdet_lite.train.state import TrainState, check_saved
from ppdet_lite.utils.logger import FileInUse, add_log_file, get_logger, remove_log_file
from ppdet_lite.weights.checkpoint import load_resume, newest_checkpoint
from ppdet_lite.weights.load import load_weights
from ppdet_lite.weights.manifest import stem_of
from ppdet_lite.weights.zoo import locate_weights


def run_training(
    cfg: Config,
    *,
    evaluate: bool = False,
    resume: Optional[str] = None,
    amp: Optional[bool] = None,
    use_vdl: bool = False,
    vdl_log_dir: Optional[str] = None,
) -> TrainState:
    """Trains by a configuration and returns the state at the end; checkpoints and `train.log` go to
    `save_dir/<config name>`.

    Args:
        evaluate: evaluate at every snapshot and keep `best_model`.
        resume: a checkpoint to go on from, with or without suffix; "auto" takes the newest whole
            one in the output folder, and starts anew where there is none.
        amp: mixed precision; None takes `cfg.amp`.
        use_vdl: write a VisualDL log.
        vdl_log_dir: its folder, `vdl` in the output folder by default.

    Raises:
        UserError: data, configuration or weights do not fit, or the loss is no longer finite.
        KeyboardInterrupt: stopped by Ctrl-C, after saving the state.
    """
    if amp is not None:
        cfg = merge_config(cfg, {"amp": amp}, source="run_training")
    # Paddle's warning for every batch norm layer, about what everybody expects.
    warnings.filterwarnings("ignore", message="When training, we now always track global mean")
    device = prepare_device(cfg.settings.use_gpu, cfg.settings.cpu_threads)
    ranks = init_ranks()
    vdl_folder = (vdl_log_dir or os.path.join(cfg.output_folder, "vdl")) if use_vdl else None
    with _training_log(cfg.output_folder):
        page = "; index.html: the page, `ppdet report` renews it" if cfg.settings.report else ""
        text = "Run folder: %s (train.log: every line; results.csv: the numbers%s)"
        get_logger().info(text, cfg.output_folder, page)
        trainer = build_trainer(cfg, device, ranks, evaluate, resume, vdl_folder)
        if ranks.rank == 0 and trainer.state.iteration == 0:
            _set_aside(Path(cfg.output_folder))
        trainer.run()
        return trainer.state


def _set_aside(folder: Path) -> None:
    """Moves what an earlier run in the folder left; what it computed is not this run's to erase."""
    if aside := set_aside(folder):
        text = "Training anew: table and page of the earlier run in this folder are in %s now; its "
        text += "checkpoints stay until this run writes others of their names."
        get_logger().warning(text, aside)


@contextlib.contextmanager
def _training_log(folder: str) -> Iterator[None]:
    """`train.log`, locked against a second run in this folder; an error goes into it, too."""
    try:
        log_file = add_log_file(os.path.join(folder, "train.log"), exclusive=True)
    except FileInUse:
        raise UserError(
            f"another training run is writing to {folder}. Wait for it, or set another save_dir"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}; set another save_dir"
        ) from None
    try:
        yield
    except UserError as error:
        if log_file is not None:  # the terminal gets it from the tool, at the very end
            facts = {"levelname": "ERROR", "msg": f"{type(error).__name__}: {error}"}
            log_file.handle(logging.makeLogRecord(facts))
        raise
    finally:
        remove_log_file(log_file)


def build_trainer(
    cfg: Config,
    device: str,
    ranks: Ranks,
    evaluate: bool = False,
    resume: Optional[str] = None,
    vdl_folder: Optional[str] = None,
) -> Trainer:
    """Everything up to the first step; see `run_training` for arguments and errors."""
    stem, saved = _saved_state(cfg, resume)  # before minutes of loading data
    settings = cfg.settings
    if settings.patience is not None and not evaluate:
        raise ConfigError(
            f"patience: found {settings.patience}, allowed: null without `evaluate`, because early "
            "stopping goes by evaluations"
        )
    precision = Precision(settings, device)
    seed = _seed(settings.seed, ranks, saved)
    reader, batch_setting = training_reader(cfg, seed, ranks)
    evaluator = evaluator_beside(cfg, reader.dataset) if evaluate else None
    model = build_detector(cfg)
    for each in [reader] + ([evaluator.reader] if evaluator else []):
        check_input_sizes(each, model)
    if evaluator is not None:
        tell_detection_limit(evaluator.dataset, model)
    steps = [step for step in reader.sample_transforms if isinstance(step, Transform)]
    mixes = any(step.switched_by == "mosaic_epoch" for step in steps)
    for line in model.remarks(settings.epoch, reader.mosaic_epoch if mixes else None):
        get_logger().warning(line)
    if saved is None:
        _load_pretrained(model, settings)
    if synchronizes_norms(settings.norm_type, device, ranks):
        synchronize_norms(model)
    elif settings.norm_type == "cmbn":
        if settings.accumulate_steps == 1:
            get_logger().warning("norm_type cmbn is an ordinary batch norm at accumulate_steps 1.")
        gather_over_mini_batches(model, settings.accumulate_steps)
    schedule = _schedule(settings.epoch, saved)
    scheduler = _scheduler(cfg, batch_setting, schedule)
    optimizer = create("OptimizerBuilder", cfg)(scheduler, model.parameters())
    model, optimizer = precision.prepare(model, optimizer)
    ema = None
    if settings.use_ema:
        average = settings.ema_decay, settings.ema_decay_type, settings.ema_filter_no_grad
        ema = ModelEMA(model, *average)
    state = TrainState(model, optimizer, scheduler, seed, batch_setting, ema, precision, ranks)
    state.schedule = schedule
    if saved is not None:
        _go_on_from(saved, stem, state, settings.epoch)
    hooks = _hooks(cfg, reader, evaluator, stem, vdl_folder, ranks.rank == 0)
    hooks += _hooks_of_results(cfg, reader, evaluator, state, device)
    return Trainer(
        state,
        reader,
        epochs=settings.epoch,
        steps_per_epoch=batch_setting["steps_per_epoch"],
        hooks=hooks + _hooks_of_config(cfg),
        accumulate_steps=settings.accumulate_steps,
        parallel=paddle.DataParallel(model) if ranks.world_size > 1 and device != "cpu" else None,
    )


def _saved_state(cfg: Config, resume: Optional[str]) -> tuple[str, Optional[dict]]:
    """Path without suffix and state of the checkpoint to go on from."""
    if not resume:
        return "", None
    if resume != "auto":
        stem, saved = stem_of(resume), load_resume(resume)
        check_saved(saved, f"{stem}.pdopt")
        return stem, saved
    found = newest_checkpoint(cfg.output_folder, check_saved)
    if found[1] is None:
        get_logger().info("No checkpoint in %s to resume: starting anew.", cfg.output_folder)
    return found


def _seed(wanted: Optional[int], ranks: Ranks, saved: Optional[dict]) -> int:
    """The seed of a run, which a resumed one keeps."""
    if saved is None:
        return set_seed(wanted, ranks)
    seed = saved["progress"]["seed"]
    if wanted not in (None, seed):
        get_logger().warning(f"The run being resumed used seed {seed}; seed {wanted} is ignored.")
    return set_seed(seed, ranks)


def _load_pretrained(model: nn.Layer, settings: RuntimeSettings) -> None:
    path = settings.pretrain_weights
    if not path:
        get_logger().info("No pretrain_weights: training starts from random weights.")
        return
    try:
        path = locate_weights(path, offline=settings.offline)  # shared by a machine's processes
    except CheckpointError as error:
        text = f"{error}; pretrain_weights=null starts the training from random weights"
        raise CheckpointError(text) from None
    partial = settings.allow_partial_weights
    for line in load_weights(model, path, allow_partial=partial, part_of_model=True).lines():
        get_logger().info(line)


def synchronizes_norms(norm_type: str, device: str, ranks: Ranks) -> bool:
    """True for batch norms with statistics over all GPUs; Paddle has none for the CPU."""
    return norm_type == "sync_bn" and ranks.world_size > 1 and device.startswith("gpu")


def _schedule(epochs: int, saved: Optional[dict]) -> SchedulePass:
    """The epochs that the schedule of the learning rate covers."""
    if saved is None:
        return SchedulePass.first(epochs)
    schedule, remark = SchedulePass.after(saved["progress"], epochs)
    if remark:
        get_logger().warning(remark)
    return schedule


def _scheduler(cfg: Config, setting: dict[str, int], schedule: SchedulePass) -> LRScheduler:
    """The learning rate for the real total batch; prints how it came about."""
    curve, epochs = create("LearningRate", cfg), cfg.settings.epoch
    steps = setting["steps_per_epoch"]
    batch = [setting[key] for key in ("processes", "batch_size", "accumulate_steps")]
    rate, arithmetic = curve.scaled_lr(*batch)
    get_logger().info(arithmetic)
    total = epochs * steps
    warmup = f"{min(curve.warmup_steps(steps), total)} of them warm-up"
    get_logger().info(f"{epochs} epochs x {steps} steps = {total} iterations, {warmup}")
    for line in curve.remarks(steps, schedule.curve_epochs):
        get_logger().warning(line)
    return schedule.scheduler(curve, steps, rate)


def _go_on_from(saved: dict, stem: str, state: TrainState, epochs: int) -> None:
    """Brings `state` to the position of a checkpoint, and logs it."""
    for remark in state.set_state_dict(saved, stem):
        get_logger().warning("Resuming %s: %s", stem, remark)
    best = f", best so far {state.best['value']:.4f}" if state.best else ""
    position = f"epoch {state.epoch}, step {state.step_in_epoch}, iteration {state.iteration}"
    get_logger().info("Resumed from %s: %s%s", stem, position, best)
    if state.epoch >= epochs:
        text = (
            f"That run is complete: it has {state.epoch} epochs. Raise the key epoch to train on."
        )
        get_logger().warning(text)


def _hooks(
    cfg: Config,
    reader: Reader,
    evaluator: Optional[Evaluator],
    resumed_from: str,
    vdl_folder: Optional[str],
    is_first: bool,
) -> list[Hook]:
    """The hooks in their order: the check before everything, checkpoints before the evaluation
    (which may fail), best_model after it.
    """
    settings, dataset = cfg.settings, reader.dataset
    classes = {"class_names": dataset.class_names, "category_ids": dataset.category_ids}
    facts = {**classes, "config": cfg.name}
    with_safetensors = settings.save_format == "safetensors"
    writer = CheckpointWriter(cfg.output_folder, facts, with_safetensors, newest=resumed_from)
    hooks: list[Hook] = [
        FiniteCheckHook(writer),
        LayerProgressHook(),
        LogHook(settings.log_iter, reader.worker_num, reader.data.cache_settings is not None),
        CheckpointHook(writer, settings.snapshot_epoch),
    ]
    if settings.keep_checkpoints is not None:
        hooks.append(RetentionHook(cfg.output_folder, settings.keep_checkpoints, resumed_from))
    if evaluator is not None:
        hooks += [EvalHook(evaluator, settings.snapshot_epoch), BestModelHook(writer)]
        if settings.patience is not None:
            hooks.append(EarlyStoppingHook(settings.patience))
    if is_first:
        hooks += curve_hooks(cfg, reader, vdl_folder, bool(resumed_from))
    return hooks


def _hooks_of_results(
    cfg: Config, reader: Reader, evaluator: Optional[Evaluator], state: TrainState, device: str
) -> list[Hook]:
    """The table of the run and its page, made of the results of the hooks before."""
    hooks: list[Hook] = [ResultsHook(cfg.output_folder, cfg.settings.log_iter)]
    if cfg.settings.report:
        facts = run_facts(
            cfg,
            reader,
            evaluator.dataset if evaluator else None,
            state.batch_setting,
            device=device,
            parameters=sum(p.size for p in state.model.parameters() if not p.stop_gradient),
            seed=state.seed,
        )
        form = BatchFormat.after([*reader.sample_transforms, *reader.batch_transforms])
        images = BatchImages(form, reader.dataset.class_names)
        hooks.append(ReportHook(cfg.output_folder, facts, evaluator, images))
    return hooks


def _hooks_of_config(cfg: Config) -> list[Hook]:
    """The key train_hooks, built."""
    hooks = create_list(cfg.settings.train_hooks, cfg, ("train_hooks",))
    for place, hook in enumerate(hooks):
        if not isinstance(hook, Hook):
            name = type(hook).__name__
            raise ConfigError(
                f"train_hooks.{place}: found {name}, allowed: a class derived of Hook"
            )
    return hooks
