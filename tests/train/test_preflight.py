"""What is checked before the first step."""

import ctypes
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.reader.readers import TrainReader
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.mosaic import Mosaic
from ppdet_lite.train.mixed_precision import Precision
from ppdet_lite.train.preflight import (
    Ranks,
    check_batches,
    check_class_order,
    check_dataset_against_config,
    check_files,
    output_folder,
    prepare_device,
    seed_step,
    set_seed,
    use_cpu_cores,
    warn_of_last_epochs,
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


def test_number_of_classes():
    cfg = Config({"num_classes": 80})
    check_dataset_against_config(Config({"num_classes": 2}), data(["a", "b"]))
    with pytest.raises(DataError) as error:
        check_dataset_against_config(cfg, data(["cat", "dog", "owl"]))
    text = str(error.value)
    assert "train.json has 3 classes (cat, dog, owl) but num_classes is 80" in text
    assert "-o num_classes=3" in text


def test_class_order():
    check_class_order(data(["a", "b"]), data(["a", "b"]))
    with pytest.raises(DataError, match="another order: class 1 is 'b' in one and 'c' in the"):
        check_class_order(data(["a", "b", "c"]), data(["a", "c", "b"], "val.json"))
    with pytest.raises(DataError, match="train.json and val.json have different classes: only in "):
        check_class_order(data(["a", "b"]), data(["a", "c"], "val.json"))


def test_an_epoch_without_a_step():
    reader = _Reader(batch_size=24, world_size=2, length=0)
    with pytest.raises(ConfigError) as error:
        check_batches(reader, data(["a"]), 1)
    for part in ("3 images", "TrainReader.batch_size=24", "drop_last=false", "2 process(es)"):
        assert part in str(error.value)
    assert check_batches(_Reader(batch_size=2, length=7), data(["a"]), 3) == 2


YOLOX_EPOCHS = SimpleNamespace(l1_epoch=285)


def said_of_last_epochs(capsys, mosaic_epoch, epochs, model=YOLOX_EPOCHS, steps=None):
    reader = TrainReader([Mosaic()] if steps is None else steps, mosaic_epoch=mosaic_epoch)
    warn_of_last_epochs(reader, model, epochs)
    return [line.partition("WARNING: ")[2] for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(("mosaic_epoch", "epochs"), [(35, 300), (35, 50), (0, 300), (300, 300)])
def test_mosaics_that_do_not_end_where_the_l1_term_begins(capsys, mosaic_epoch, epochs):
    assert said_of_last_epochs(capsys, mosaic_epoch, epochs) == [
        f"TrainReader.mosaic_epoch is {mosaic_epoch}, YOLOXHead.l1_epoch is 285 and epoch is "
        f"{epochs}: the L1 term is meant to begin where mosaics end. Give both keys the same epoch."
    ]


def test_a_training_that_ends_before_mosaics_do(capsys):
    (line,) = said_of_last_epochs(capsys, 285, 50)
    assert line.startswith(
        "TrainReader.mosaic_epoch is 285, YOLOXHead.l1_epoch is 285 and epoch is 50: the training "
        "ends before mosaics do, and before the L1 term begins."
    )


def test_last_epochs_that_agree_or_do_not_matter(capsys):
    assert said_of_last_epochs(capsys, 285, 300) == []
    assert said_of_last_epochs(capsys, 0, 50) == []  # mosaics to the end, as asked for
    assert said_of_last_epochs(capsys, -1, 300) == []
    assert said_of_last_epochs(capsys, 35, 300, steps=[Decode()]) == []
    assert said_of_last_epochs(capsys, 35, 300, model=SimpleNamespace()) == []


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


def test_device():
    assert prepare_device({"use_gpu": False}) == "cpu"
    assert paddle.get_device() == "cpu"


def test_mixed_precision_is_refused_where_it_has_no_effect():
    with pytest.raises(ConfigError, match="needs a GPU.*amp=false"):
        Precision.from_config({"amp": True}, "cpu")
    assert not Precision.from_config({"amp": False}, "cpu").enabled
    with pytest.raises(ConfigError, match="found 'O3', allowed: O1, O2"):
        Precision(True, level="O3")


def test_cpu_kernels_get_the_threads_that_are_asked_for():
    runtime = Path(paddle.__file__).parent / "libs" / "libiomp5.so"
    if not runtime.is_file():
        pytest.skip("this Paddle ships no OpenMP runtime of its own")
    openmp = ctypes.CDLL(str(runtime))
    before = openmp.omp_get_max_threads()
    try:
        assert use_cpu_cores(3) and openmp.omp_get_max_threads() == 3
        prepare_device(Config({"use_gpu": False, "cpu_threads": 1}))
        assert openmp.omp_get_max_threads() == 1
    finally:
        use_cpu_cores(before)


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


def test_images_that_are_not_there(capsys):
    paths = [f"photos/{number}.jpg" for number in range(5)]
    photos = data(["cell"], name="cells.json")
    photos.length, photos.missing_files = 100, lambda limit: paths[:limit]
    with pytest.raises(DataError) as error:
        check_files(photos)
    expected = (
        "cells.json: 5 of 100 images do not exist: photos/0.jpg, photos/1.jpg, photos/2.jpg and "
        "2 more."
    )
    assert str(error.value).startswith(expected)
    check_files(photos, allowed_share=0.05)
    assert expected + " They are left out." in capsys.readouterr().err
    with pytest.raises(DataError):
        check_files(photos, allowed_share=0.04)
    photos.missing_files = lambda limit: []
    check_files(photos)
    check_files(SimpleNamespace())


def test_the_home_folder_may_be_abbreviated(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert output_folder(Config({"save_dir": "~/runs"})) == str(tmp_path / "runs" / "config")
    assert output_folder(Config({})) == "output/config"
