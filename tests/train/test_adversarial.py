"""Self-adversarial training: the image changes, nothing else does."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.device.ranks import SINGLE_PROCESS
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.losses.no_object_loss import no_object_loss
from ppdet_lite.train.hooks.adversarial import SelfAdversarialTraining
from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.train.run import build_trainer

CONFIG = """
_BASE_: [{repo}/configs/yolov4/yolov4_tiny_coco.yml]
num_classes: 2
norm_type: bn
use_gpu: false
width_mult: 0.125
seed: 0
epoch: 4
snapshot_epoch: 100
worker_num: 0
accumulate_steps: 2
save_dir: {out}
report: false
LearningRate: {{allow_long_warmup: true}}
train_hooks:
  - SelfAdversarialTraining: {{lr: 0.5, burn_in: 2, prob: 1.0}}
TrainDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json,
               sample_num: 4, allow_empty: true}}
TrainReader: {{batch_size: 1}}
"""


@pytest.fixture
def trainer(repo, tiny_coco, tmp_path):
    path = tmp_path / "small.yml"
    path.write_text(CONFIG.format(repo=repo, out=tmp_path / "out", data=tiny_coco))
    overrides = ["TrainReader.sample_transforms.JitterCrop.target_size=[64,64]"]

    def make(*more):
        return build_trainer(load_config(path, [*overrides, *more]), "cpu", SINGLE_PROCESS)

    return make


class Watch(Hook):
    """Sees what the hook before it has done to image, weights, gradients and statistics."""

    def __init__(self):
        self.images, self.seen = [], []

    def before_forward(self, run, number, inputs):
        self.images.append(inputs["image"].numpy())
        self.seen.append((run.state.iteration, number, snapshot(run.state.model)))


def snapshot(model):
    found = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    grads = {
        f"grad {p.name}": p.grad.numpy().copy() for p in model.parameters() if p.grad is not None
    }
    return {**found, **grads}


def test_only_the_image_changes(trainer):
    run = trainer()
    before, after = Watch(), Watch()
    attack = next(hook for hook in run.hooks if isinstance(hook, SelfAdversarialTraining))
    run.hooks = [*(h for h in run.hooks if h is not attack), before, attack, after]
    run.run()
    assert len(before.images) == run.state.iteration * 2 == 16
    for (iteration, _, one), (_, _, other), image, changed in zip(
        before.seen, after.seen, before.images, after.images
    ):
        assert set(one) == set(other)
        assert all(np.array_equal(one[key], other[key]) for key in one)
        assert np.array_equal(image, changed) == (iteration < 2)
        assert changed.min() >= 0
        assert changed.max() <= 1
    assert run.state.model.training


def test_the_changed_image_shows_less(trainer):
    run = trainer()
    attack, model = SelfAdversarialTraining(lr=0.005, burn_in=0, prob=1.0), run.state.model
    for conv in model.head.yolo_output:  # no class is likely, so only the objectness is lowered
        conv.bias.set_value(paddle.to_tensor(np.tile([0, 0, 0, 0, 0, -5, -5], 3).astype("float32")))
    image = np.random.default_rng(0).random((1, 3, 64, 64)).astype(np.float32)
    run.state.iteration = 7
    inputs = {"image": paddle.to_tensor(image)}
    attack.before_forward(run, 0, inputs)
    changed = inputs["image"]
    model.eval()
    losses = []
    for each in (paddle.to_tensor(image), changed):
        raw = model.raw_outputs(each)
        losses.append(float(sum(paddle.nn.functional.sigmoid(o[:, 4::7]).sum() for o in raw)))
    assert losses[1] < losses[0]


def test_a_share_of_the_micro_batches_by_seed_and_place(trainer):
    run = trainer()
    attack = SelfAdversarialTraining(lr=0.5, burn_in=0, prob=0.5)
    image = paddle.to_tensor(np.random.default_rng(0).random((1, 3, 64, 64)).astype(np.float32))

    def changed(iteration, number):
        run.state.iteration = iteration
        inputs = {"image": image}
        attack.before_forward(run, number, inputs)
        return inputs["image"] is not image

    places = [(iteration, number) for iteration in range(1, 16) for number in (0, 1)]
    first = [changed(*place) for place in places]
    assert first == [changed(*place) for place in places]
    assert 8 <= sum(first) <= 22
    assert first[::2] != first[1::2]


def test_deltas_by_hand():
    # One level of one cell and one anchor, two classes; the box is half of the image wide and high.
    level = AnchorLevel(((16, 16),), 32, 1.2)
    raw = np.zeros((1, 7, 1, 1), np.float32)
    raw[0, :, 0, 0] = [0.3, -0.2, 0.0, 0.0, 2.0, 1.0, -1.5]
    output = paddle.to_tensor(raw, stop_gradient=False)
    no_object_loss([output], [level], 2).backward()
    s = 1 / (1 + np.exp(-raw.astype(float).ravel()))
    scale = 0.5
    center = 1.2 * s[:2] - 0.1
    expected = [*(-center * scale), 0, 0, -s[4] * scale, -s[5] * scale, (1 - s[6]) * scale]
    np.testing.assert_allclose(-output.grad.numpy().ravel(), expected, rtol=1e-5)
    # without an object only the objectness moves
    raw[0, 4] = -3.0
    output = paddle.to_tensor(raw, stop_gradient=False)
    no_object_loss([output], [level], 2).backward()
    expected = [0, 0, 0, 0, -scale / (1 + np.exp(3.0)), 0, 0]
    np.testing.assert_allclose(-output.grad.numpy().ravel(), expected, rtol=1e-5)


def test_what_cannot_be_is_named(trainer, toys):
    with pytest.raises(ConfigError, match="prob: found 2"):
        SelfAdversarialTraining(prob=2)
    with pytest.raises(ConfigError, match=r"train_hooks.*Resize"):
        trainer("train_hooks=[{Resize: {target_size: 32}}]")
