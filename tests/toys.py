"""A network and a reader small enough to train in milliseconds."""

import numpy as np
import paddle

from ppdet_lite.train.ema import ModelEMA
from ppdet_lite.train.loop import Trainer
from ppdet_lite.train.optimizer import OptimizerBuilder
from ppdet_lite.train.schedule import LearningRate, LinearWarmup, PiecewiseDecay
from ppdet_lite.train.seed import set_seed
from ppdet_lite.train.state import TrainState


class ToyNet(paddle.nn.Layer):
    """Convolution, batch norm, dropout: everything whose state a resume must restore."""

    def __init__(self, classes=2):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 3, bias_attr=False)
        self.norm = paddle.nn.BatchNorm2D(4)
        self.dropout = paddle.nn.Dropout(0.3)
        self.head = paddle.nn.Linear(4, classes)

    def forward(self, inputs):
        features = paddle.nn.functional.relu(self.norm(self.conv(inputs["image"])))
        output = self.head(self.dropout(features).mean([2, 3]))
        if not self.training:
            return {"output": output}
        loss_a = ((output - inputs["target"]) ** 2).mean()
        loss_b = output.abs().mean()
        return {"loss_a": loss_a, "loss_b": loss_b, "loss": loss_a + loss_b}


class ToyReader:
    """Batches from (seed, epoch, index), like the real one."""

    batch_size = 2

    def __init__(self, count=6, seed=3):
        self.count = count
        self.seed = seed
        self.poison = None  # (epoch, index) of a batch with a NaN in it
        self.on_batch = None

    def __len__(self):
        return self.count

    def close(self):
        pass

    def batches(self, epoch, start=0):
        for index in range(start, self.count):
            if self.on_batch is not None:
                self.on_batch(epoch, index)
            rng = np.random.default_rng((self.seed, epoch, index))
            batch = {
                "image": rng.standard_normal((2, 3, 6, 6)).astype(np.float32),
                "target": rng.standard_normal((2, 2)).astype(np.float32),
                "im_file": [f"photo_{epoch}_{index}_{k}.jpg" for k in range(2)],
            }
            if self.poison == (epoch, index):
                batch["target"][0, 0] = np.nan
            yield batch


def make_trainer(
    hooks=(), epochs=3, seed=5, accumulate_steps=1, reader=None, ema=True, clip=1.0, **kwargs
):
    """A trainer over the toys; further arguments go to the TrainState."""
    set_seed(seed)
    model = ToyNet()
    reader = reader or ToyReader()
    steps = len(reader) // accumulate_steps
    curve = LearningRate(0.1, [PiecewiseDecay(0.1, [2]), LinearWarmup(4, 0.1)])
    scheduler = curve(steps, epochs)
    builder = OptimizerBuilder(clip, None, {"type": "L2", "factor": 1e-3})
    optimizer = builder(scheduler, model.parameters())
    average = ModelEMA(model, 0.9, "threshold") if ema else None
    setting = {"steps_per_epoch": steps, "batch_size": reader.batch_size}
    state = TrainState(
        model, optimizer, scheduler, seed=seed, ema=average, batch_setting=setting, **kwargs
    )
    length = {"epochs": epochs, "steps_per_epoch": steps, "accumulate_steps": accumulate_steps}
    return Trainer(state, reader, hooks=hooks, **length)
