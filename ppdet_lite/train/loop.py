"""The training loop; logging, checkpoints, evaluation and checks are hooks."""

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Optional, Sequence

import numpy as np
import paddle
from paddle import distributed

from ppdet_lite.core.errors import CheckpointError, TrainingError, UserError
from ppdet_lite.data.reader.readers import Reader
from ppdet_lite.device.ranks import all_processes, true_anywhere
from ppdet_lite.modeling.batch_tensors import POSITION_KEYS, as_tensors
from ppdet_lite.train.hooks.base import Hook, StepRecord
from ppdet_lite.train.seed import seed_step
from ppdet_lite.train.state import TrainState
from ppdet_lite.utils.interrupt import Interrupts


@dataclass(eq=False)
class Trainer:
    """Runs `epochs` epochs over a reader.

    Attributes:
        state: the training starts at its position.
        steps_per_epoch: optimizer steps per epoch; batches left over at the end are not used.
        hooks: called in the given order.
        accumulate_steps: micro batches per optimizer step; their gradients are averaged.
        parallel: the model, wrapped for several processes on GPUs. On a CPU the gradients are
            averaged after the backward pass: there the wrapper aborts when a process dies.
        ends_early: set by a hook, the current epoch is the last.
    """

    state: TrainState
    reader: Reader
    epochs: int
    steps_per_epoch: int
    hooks: Sequence[Hook] = ()
    accumulate_steps: int = 1
    parallel: Optional[paddle.DataParallel] = None
    ends_early: bool = False
    _is_moving: bool = False  # the state is between two steps
    _averages: bool = False

    def run(self) -> None:
        """Trains to the end.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM, once the hooks have saved the state.
            UserError: a hook or the reader cannot go on.
        """
        started_at = self.state.iteration
        several = self.state.ranks.world_size > 1
        self._averages = several and self.parallel is None
        with Interrupts(true_anywhere if several else None) as interrupts:
            try:
                for tensor in self.state.model.state_dict().values() if self._averages else ():
                    distributed.broadcast(tensor, src=0)
                self._call("before_train")
                while self.state.epoch < self.epochs and not self.ends_early:
                    self._run_epoch(interrupts)
                self._call("after_train")
            except KeyboardInterrupt:
                if not interrupts.forced:
                    self._call("on_interrupt")
                raise
            except Exception as error:
                interrupts.begin_saving()
                # A dead reader worker, another process that has gone, ...: the state is good.
                is_good = self.state.iteration > started_at and not self._is_moving
                # Nothing good to save, or no room for it.
                is_lost = isinstance(error, (TrainingError, CheckpointError))
                self._call("on_interrupt" if is_good and not is_lost else "on_error")
                raise
            finally:
                self.reader.close()
                self._call("close")

    def _run_epoch(self, interrupts: Interrupts) -> None:
        state = self.state
        (self.parallel or state.model).train()
        self._call("before_epoch")
        batches = self.reader.batches(state.epoch, state.step_in_epoch * self.accumulate_steps)
        with contextlib.closing(batches):
            while state.step_in_epoch < self.steps_per_epoch:
                started = time.perf_counter()
                group = [next(batches) for _ in range(self.accumulate_steps)]
                data_cost = time.perf_counter() - started
                with interrupts.step():
                    record = self._step(group, data_cost)
                    state.step_in_epoch += 1
                    state.iteration += 1
                    self._is_moving = False
                    self._call("after_step", record)
                del group, record  # so that their memory can serve for the next batches
        self._call("after_epoch")
        state.epoch += 1
        state.step_in_epoch = 0

    def _step(self, group: list[dict], data_cost: float) -> StepRecord:
        """Forward and backward of every micro batch, the hooks' check, then the update."""
        state = self.state
        seed_step(state.seed, state.ranks.rank, state.iteration)
        before = {b: b.clone() for b in state.model.buffers()} if self._averages else {}
        outputs = [self._forward_backward(number, batch) for number, batch in enumerate(group)]
        if self._averages:
            try:
                average_gradients(state.model, state.ranks.world_size)
            except UserError:  # the step is undone, and the state of the one before saved
                for buffer, value in before.items():
                    buffer.set_value(value)
                raise
        images = sum(len(batch["image"]) for batch in group)
        record = StepRecord(_to_floats(outputs), group, images, state.scheduler(), data_cost)
        self._call("before_update", record)
        self._is_moving = True
        state.precision.update(state.optimizer)
        state.update_ema()
        state.scheduler.step()
        return record

    def _forward_backward(self, number: int, batch: dict) -> dict:
        state, is_last = self.state, number == self.accumulate_steps - 1
        position = np.array([[state.epoch], [state.iteration], [state.seed]], np.int64)
        inputs = as_tensors({**batch, **dict(zip(POSITION_KEYS, position))})
        self._call("before_forward", number, inputs)
        # Gradients travel between the processes once per step, with the last micro batch.
        model = self.parallel if not is_last else None
        with contextlib.nullcontext() if model is None else model.no_sync():
            with state.precision.autocast():
                outputs = (self.parallel or state.model)(inputs)
            state.precision.backward(outputs["loss"] / self.accumulate_steps)
        return outputs

    def _call(self, event: str, *arguments: Any) -> None:
        for hook in self.hooks:
            getattr(hook, event)(self, *arguments)


@paddle.no_grad()
def average_gradients(model: paddle.nn.Layer, processes: int) -> None:
    """Gives the parameters of all processes the mean of their gradients."""
    parameters = [p for p in model.parameters() if not p.stop_gradient]
    gradients = [paddle.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    mean = paddle.concat([gradient.reshape([-1]) for gradient in gradients]) / processes
    with all_processes():
        distributed.all_reduce(mean)
    for parameter, part in zip(parameters, mean.split([p.size for p in parameters])):
        parameter.grad = part.reshape(parameter.shape)


def _to_floats(outputs: list[dict]) -> list[dict[str, float]]:
    """Loss terms of all micro batches as floats, fetched from the device in one transfer."""
    terms = [term.detach() for output in outputs for term in output.values()]
    flat = paddle.stack([term.astype("float32").reshape([]) for term in terms])
    return [dict(zip(outputs[0], row)) for row in flat.numpy().reshape(len(outputs), -1).tolist()]
