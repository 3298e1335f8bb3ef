"""What is checked before the first step."""

import random
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.reader.readers import TrainReader
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.mosaic import Mosaic
from ppdet_lite.device.ranks import Ranks
from ppdet_lite.train.mixed_precision import Precision
from ppdet_lite.train.preflight import (
    check_batches,
    seed_step,
    set_seed,
    warn_of_settings,
)
from ppdet_lite.train.run import _wants_sync_bn


class _Data(SimpleNamespace):
    def __len__(self):
        return self.length


class _Reader(SimpleNamespace):
    def __len__(self):
        return self.length


def data(names, name="train.json"):
    return _Data(class_names=names, name=name, length=3)


def test_an_epoch_without_a_step():
    reader = _Reader(batch_size=24, world_size=2, length=0)
    with pytest.raises(ConfigError) as error:
        check_batches(reader, data(["a"]), 1)
    for part in ("3 images", "TrainReader.batch_size=24", "drop_last=false", "2 process(es)"):
        assert part in str(error.value)
    assert check_batches(_Reader(batch_size=2, length=7), data(["a"]), 3) == 2


@pytest.mark.parametrize(
    ("step", "mosaic_epoch", "told"), [(Mosaic(), 35, 35), (Mosaic(), 0, 0), (Decode(), 35, None)]
)
def test_remarks_of_the_model_are_printed(capsys, step, mosaic_epoch, told):
    model = SimpleNamespace(remarks=lambda *found: [f"told {found}"])
    warn_of_settings(TrainReader([step], mosaic_epoch=mosaic_epoch), model, 300)
    assert f"WARNING: told (300, {told})" in capsys.readouterr().err


def test_seeds_repeat_and_a_missing_one_is_drawn():
    draws = []
    for _ in range(2):
        assert set_seed({"seed": 11}) == 11
        draws.append((random.random(), np.random.rand(), paddle.rand([2]).tolist()))
    assert draws[0] == draws[1]
    assert set_seed({"seed": None}) != set_seed({"seed": None})


def test_every_step_has_its_own_draws():
    def draw(*key):
        seed_step(*key)
        return tuple(paddle.rand([3]).tolist())

    assert draw(1, 0, 5) == draw(1, 0, 5)
    assert len({draw(1, 0, 5), draw(1, 0, 6), draw(1, 1, 5), draw(2, 0, 5)}) == 4


def test_mixed_precision_is_refused_where_it_has_no_effect():
    with pytest.raises(ConfigError, match="needs a GPU.*amp=false"):
        Precision.from_config({"amp": True}, "cpu")
    assert not Precision.from_config({"amp": False}, "cpu").enabled
    with pytest.raises(ConfigError, match="found 'O3', allowed: O1, O2"):
        Precision(True, level="O3")


@pytest.mark.parametrize(
    "norm_type, device, processes, wanted",
    [
        ("sync_bn", "gpu:0", 8, True),
        ("sync_bn", "gpu:0", 1, False),
        ("sync_bn", "cpu", 2, False),
        ("bn", "gpu:0", 8, False),
    ],
)
def test_norms_are_synchronized_between_gpus_when_the_config_says_so(
    norm_type, device, processes, wanted
):
    assert _wants_sync_bn({"norm_type": norm_type}, device, Ranks(0, processes)) is wanted
