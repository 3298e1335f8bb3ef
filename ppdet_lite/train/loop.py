"""The training loop; logging, checkpoints, evaluation and checks are hooks."""

import contextlib
import time
from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np
import paddle

from ppdet_lite.data.reader.readers import Reader
from ppdet_lite.device.ranks import true_anywhere
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
        parallel: the model, wrapped for several processes.
    """

    state: TrainState
    reader: Reader
    epochs: int
    steps_per_epoch: int
    hooks: Sequence[Hook] = ()
    accumulate_steps: int = 1
    parallel: Optional[paddle.DataParallel] = None

    def run(self) -> None:
        """Trains to the end.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM, once the hooks have saved the state.
            UserError: what a hook found wrong.
        """
        several = self.state.ranks.world_size > 1
        with Interrupts(true_anywhere if several else None) as interrupts:
            try:
                self._call("before_train")
                while self.state.epoch < self.epochs:
                    self._run_epoch(interrupts)
                self._call("after_train")
            except KeyboardInterrupt:
                if not interrupts.forced:
                    self._call("on_interrupt")
                raise
            finally:
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
                    self._call("after_step", record)
                del group, record  # so that their memory can serve for the next batches
        self._call("after_epoch")
        state.epoch += 1
        state.step_in_epoch = 0

    def _step(self, group: list[dict], data_cost: float) -> StepRecord:
        """Forward and backward of every micro batch, the hooks' check, then the update."""
        state = self.state
        seed_step(state.seed, state.ranks.rank, state.iteration)
        outputs = [self._forward_backward(batch, is_last=batch is group[-1]) for batch in group]
        images = sum(len(batch["image"]) for batch in group)
        record = StepRecord(_to_floats(outputs), group, images, state.scheduler(), data_cost)
        self._call("before_update", record)
        state.precision.update(state.optimizer)
        state.update_ema()
        state.scheduler.step()
        return record

    def _forward_backward(self, batch: dict, is_last: bool) -> dict:
        state = self.state
        position = np.array([[state.epoch], [state.iteration], [state.seed]], np.int64)
        inputs = as_tensors({**batch, **dict(zip(POSITION_KEYS, position))})
        # Gradients travel between the processes once per step, with the last micro batch.
        model = self.parallel if not is_last else None
        with contextlib.nullcontext() if model is None else model.no_sync():
            with state.precision.autocast():
                outputs = (self.parallel or state.model)(inputs)
            state.precision.backward(outputs["loss"] / self.accumulate_steps)
        return outputs

    def _call(self, event: str, *arguments: StepRecord) -> None:
        for hook in self.hooks:
            getattr(hook, event)(self, *arguments)


def _to_floats(outputs: list[dict]) -> list[dict[str, float]]:
    """Loss terms of all micro batches as floats, fetched from the device in one transfer."""
    terms = [term.detach() for output in outputs for term in output.values()]
    flat = paddle.stack([term.astype("float32").reshape([]) for term in terms])
    return [dict(zip(outputs[0], row)) for row in flat.numpy().reshape(len(outputs), -1).tolist()]
