"""Transforms of the user's own: anywhere in the lists, reproducible, named when they fail."""

import random

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.data.reader.plan import PlainTransform
from ppdet_lite.data.reader.readers import EvalReader, TestReader, TrainReader
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.mixup import Mixup
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute
from ppdet_lite.data.transforms.pad import Pad
from ppdet_lite.data.transforms.resize import Resize
from ppdet_lite.data.transforms.transform import ImageSizes, Transform, lazy_image
from tests.data.readers import assert_same_batches, train_reader


class Invert:
    """What a user may register: called like PaddleDetection's operators, on arrays."""

    def __call__(self, sample, context=None):
        assert isinstance(sample["image"], np.ndarray)
        assert sample["image"].dtype == np.uint8
        sample["image"] = 255 - sample["image"]
        return sample


class ApplyOnly:
    def apply(self, sample, context=None):
        sample["image"] = sample["image"][:, ::-1].astype(np.float32)
        return sample


class RandomNoise:
    def __call__(self, sample, context=None):
        noise = np.random.randint(0, 9, sample["image"].shape) + random.randint(0, 9)
        sample["image"] = sample["image"] // 2 + noise.astype(np.uint8)
        return sample


class Brighten:
    """Works on normalized images [3, H, W]."""

    def __call__(self, samples, context=None):
        for sample in samples:
            assert sample["image"].dtype == np.float32
            assert sample["image"].shape[0] == 3
            sample["image"] = sample["image"] + 1
        return samples


def pixels_of(steps, dataset):
    (batch,) = EvalReader(steps, batch_size=13, dataset=dataset)
    return batch["image"]


def test_own_transform_in_the_middle_of_the_list(dataset):
    tail = [Resize(32, interp=1), NormalizeImage(norm_type="none", is_scale=False), Permute()]
    plain = pixels_of([Decode(), *tail], dataset)
    inverted = pixels_of([Decode(), Invert(), *tail], dataset)
    np.testing.assert_allclose(inverted, 255 - plain, atol=1)  # rounding of halves
    np.testing.assert_allclose(
        pixels_of([Decode(), tail[0], Invert(), *tail[1:]], dataset), 255 - plain
    )
    mirrored = pixels_of([Decode(), tail[0], ApplyOnly(), *tail[1:]], dataset)
    np.testing.assert_allclose(mirrored, plain[..., ::-1])


def test_own_transform_after_normalization_gets_normalized_images(dataset):
    steps = [Decode(), Resize(32), NormalizeImage(), Permute()]
    plain = pixels_of(steps, dataset)

    class Add:
        def __call__(self, sample, context=None):
            return {**sample, "image": sample["image"] + np.float32(1)}

    np.testing.assert_allclose(pixels_of([*steps, Add()], dataset), plain + 1, atol=1e-6)
    between = pixels_of([*steps[:3], Add(), steps[3]], dataset)
    np.testing.assert_allclose(between, plain + 1, atol=1e-6)


def test_own_transform_in_the_batch_list(dataset):
    plain = list(train_reader(dataset).batches(0))
    inverted = train_reader(dataset, extra_sample=[Invert(), Invert()])
    assert inverted.plan.rendered_by == ["Invert", "Invert"]
    for one, other in zip(plain, inverted.batches(0)):
        np.testing.assert_array_equal(one["gt_bbox"].shape, other["gt_bbox"].shape)
    reader = train_reader(dataset)
    late = TrainReader(
        reader.sample_transforms,
        [*reader.batch_transforms, Brighten()],
        batch_size=3,
        shuffle=True,
        drop_last=True,
        mixup_epoch=10,
        seed=5,
        dataset=dataset,
    )
    for one, other in zip(plain, late.batches(0)):
        np.testing.assert_allclose(one["image"] + 1, other["image"], atol=1e-6)
        np.testing.assert_array_equal(one["target0"], other["target0"])


def test_random_numbers_of_own_transforms_are_reproducible(dataset):
    np.random.seed(1)
    random.seed(1)
    untouched = np.random.get_state()[1].copy(), random.getstate()
    alone = list(train_reader(dataset, extra_sample=[RandomNoise()]).batches(0))
    np.testing.assert_array_equal(np.random.get_state()[1], untouched[0])
    assert random.getstate() == untouched[1]
    several = train_reader(dataset, extra_sample=[RandomNoise()], worker_num=3)
    assert_same_batches(alone, several.batches(0))


def test_failing_own_transform_names_itself_and_the_file(dataset):
    class Broken:
        def __call__(self, sample, context=None):
            raise KeyError("oops")

    with pytest.raises(RuntimeError, match=r"Broken failed on .*00\.jpg") as error:
        pixels_of([Decode(), Broken(), Resize(32)], dataset)
    assert isinstance(error.value.__cause__, KeyError)


# One class that derives from Transform ---------------------------------------------------------


class SquareResize(Transform):
    """Sets the size, stays lazy and has its step in deployment."""

    def __init__(self, side):
        self.side = side

    def __call__(self, sample, context=None):
        return {**sample, "image": lazy_image(sample).resize(self.side, self.side, 1)}

    def output_sizes(self, sizes):
        return ImageSizes(((self.side, self.side),), "SquareResize.side")

    def export_step(self):
        return {"type": "Resize", "target_size": [self.side] * 2, "keep_ratio": False, "interp": 1}


class Average(Transform):
    """Mixes with a partner, always; gives back an array."""

    needs_partner = True

    def __call__(self, sample, context=None):
        one, other = (
            lazy_image(entry).resize(32, 32, 1).render() // 2
            for entry in (sample, context.partner())
        )
        return {**sample, "image": one + other}


class CountObjects(Transform):
    """Works on the finished batch."""

    def defers_to_batch(self, later):
        return True

    def finish(self, batch, size_hw, memory):
        batch["count"] = np.array([len(boxes) for boxes in batch["gt_bbox"]])
        batch["size"] = size_hw


def test_own_transform_that_sets_the_size_and_is_exported(dataset):
    tail = [NormalizeImage(), Permute()]
    reader = EvalReader([Decode(), SquareResize(64), *tail], batch_size=13, dataset=dataset)
    assert reader.plan.rendered_by == []
    assert reader.input_sizes() == ("EvalReader.sample_transforms.SquareResize.side", ((64, 64),))
    assert reader.plan.largest_pixels() == 64 * 64
    (batch,) = reader
    np.testing.assert_array_equal(batch["image"], pixels_of([Decode(), Resize(64), *tail], dataset))
    steps = reader.preprocess_config()
    assert steps == EvalReader([Decode(), Resize(64), *tail]).preprocess_config()
    photo = np.random.default_rng(1).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    assert Preprocess(steps)(photo)["image"].shape == (3, 64, 64)


def test_a_sheet_too_small_for_the_size_that_an_own_transform_sets():
    with pytest.raises(ConfigError, match=r"1\.Pad\.size: found \[32, 32\].*SquareResize.side"):
        EvalReader([SquareResize(64), Pad(32)])


def test_own_transform_with_partners_and_one_on_the_finished_batch(dataset):
    steps = [Decode(), Average(), Mixup(), NormalizeImage(), Permute()]
    settings = {"batch_size": 4, "collate_batch": False, "dataset": dataset, "drop_last": True}
    found = []
    for workers in (0, 2):
        reader = TrainReader(steps, [CountObjects()], worker_num=workers, **settings)
        assert reader.plan.deferred[-1] is reader.batch_transforms[0]
        found.append(list(reader))
    assert_same_batches(*found)
    for batch in found[0]:
        assert batch["image"].shape == (4, 3, 32, 32) and batch["size"] == (32, 32)
        assert batch["count"].tolist() == [len(boxes) for boxes in batch["gt_bbox"]]


def test_what_an_own_transform_does_not_say_is_unknown(dataset):
    class Plain(Transform):
        def __call__(self, sample, context=None):
            assert context.partner is None
            return sample

    steps = [Decode(), Resize(32), Plain(), NormalizeImage(), Permute()]
    reader = TrainReader(steps, batch_size=13, mixup_epoch=0, dataset=dataset, collate_batch=False)
    assert reader.input_sizes() == ("", ()) and reader.plan.rendered_by == []
    np.testing.assert_array_equal(
        next(iter(reader))["image"], pixels_of([*steps[:2], *steps[3:]], dataset)
    )
    for step in (Plain(), Invert()):
        with pytest.raises(ConfigError, match=f"{type(step).__name__} cannot be exported"):
            TestReader([Decode(), step]).preprocess_config()


def test_an_entry_that_is_no_transform_is_refused():
    with pytest.raises(ConfigError, match="object: found a class without __call__ and apply"):
        PlainTransform(object())
