"""The batch by memory."""

import pytest

from ppdet_lite.core.errors import UserError
from ppdet_lite.train.own_data import batch_size
from ppdet_lite.train.own_data.batch_size import (
    CPU_BYTES_PER_PIXEL,
    cpu_batch,
    fits_on_gpu,
    largest_input,
    measured_batch,
    most_for_images,
)


def test_the_first_half_that_fits():
    tried = []

    def fits(batch):
        tried.append(batch)
        return batch <= 3

    assert measured_batch(12, fits) == 3 and tried == [12, 6, 3]
    with pytest.raises(UserError, match="not even one image"):
        measured_batch(4, lambda batch: False)


def test_the_rule_for_a_cpu():
    pixels = 100 * 100
    free = 2 * 5 * pixels * CPU_BYTES_PER_PIXEL + 1
    assert cpu_batch(12, pixels, free)[0] == 5
    assert cpu_batch(3, pixels, free)[0] == 3
    batch, line = cpu_batch(12, pixels, 0)
    assert batch == 1 and "GiB per image" in line
    assert cpu_batch(1, 1)[0] == 1  # with this machine's memory


def test_a_batch_leaves_some_steps():
    assert [most_for_images(count) for count in (1, 8, 41)] == [1, 2, 10]


def test_a_trial_is_a_step_with_the_largest_images(config, monkeypatch):
    """On the CPU; the questions about the GPU's memory are answered for it."""
    import paddle

    class Properties:
        total_memory = 1000

    monkeypatch.setattr(paddle.device.cuda, "get_device_properties", lambda: Properties)
    monkeypatch.setattr(paddle.device.cuda, "max_memory_reserved", lambda: 900)
    cfg = config("LearningRate.schedulers.LinearWarmup.steps=400")
    assert largest_input(cfg) == 64 * 64
    assert fits_on_gpu(cfg, "cpu", 2)
    assert not config.folder.exists()


def test_no_memory_means_that_it_does_not_fit(config, monkeypatch):
    errors = [MemoryError("ResourceExhaustedError: Out of memory error on GPU 0")]

    def build(cfg, device, ranks):
        assert cfg.TrainReader["batch_size"] == 2 and not cfg.settings.pretrain_weights
        raise errors.pop() if errors else RuntimeError("another")

    monkeypatch.setattr(batch_size, "build_trainer", build)
    assert not fits_on_gpu(config(), "cpu", 2)
    with pytest.raises(RuntimeError, match="another"):
        fits_on_gpu(config(), "cpu", 2)
