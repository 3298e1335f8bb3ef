"""The reader of YOLOv4, small: mosaics, mixup, painted parts, sizes, batches of any number."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.reader.readers import TrainReader
from ppdet_lite.data.transforms.box_formats import BboxXYXY2XYWH, NormalizeBox, PadBox
from ppdet_lite.data.transforms.darknet.hsv import DarknetHSV
from ppdet_lite.data.transforms.darknet.jitter_crop import JitterCrop
from ppdet_lite.data.transforms.darknet.mixup import DarknetMixup
from ppdet_lite.data.transforms.darknet.mosaic import DarknetMosaic
from ppdet_lite.data.transforms.darknet.random_size import DarknetRandomSize
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.erasing.cut_mix import CutMix
from ppdet_lite.data.transforms.erasing.grid_mask import GridMask
from ppdet_lite.data.transforms.normalize import NormalizeImage, Permute
from tests.data.readers import assert_same_batches

LAST = (
    *(NormalizeBox(), PadBox(20), BboxXYXY2XYWH()),
    *(NormalizeImage([0, 0, 0], [1, 1, 1]), Permute()),
)


def darknet_reader(dataset, *more, size=None, **settings):
    steps = [Decode(), DarknetHSV(), DarknetMosaic(64, prob=0.5), *more]
    defaults = {"batch_size": 3, "shuffle": True, "drop_last": True, "seed": 5, "num_classes": 3}
    defaults.update(mosaic_epoch=0, mixup_epoch=0)
    batch_steps = [size or DarknetRandomSize(64, every=1), *LAST]
    return TrainReader(steps, batch_steps, dataset=dataset, **{**defaults, **settings})


MIXES = [DarknetMixup(), CutMix(), GridMask()]


def test_same_batches_for_any_number_of_workers(dataset):
    for epoch in (0, 1):
        alone = list(darknet_reader(dataset, *MIXES).batches(epoch))
        assert len(alone) == 4
        for workers in (1, 3):
            reader = darknet_reader(dataset, *MIXES, worker_num=workers)
            assert_same_batches(alone, reader.batches(epoch))


def test_batch_contract(dataset):
    sides = set()
    for epoch in range(4):
        for batch in darknet_reader(dataset, *MIXES).batches(epoch):
            count, channels, height, width = batch["image"].shape
            assert (count, channels, batch["image"].dtype) == (3, 3, np.float32)
            assert 0 <= batch["image"].min() < batch["image"].max() <= 1
            boxes = batch["gt_bbox"]
            assert boxes.shape == (3, 20, 4)
            low, high = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
            assert low.min() >= -1e-6
            assert high.max() <= 1 + 1e-6
            assert ((batch["gt_score"] >= 0) & (batch["gt_score"] <= 1)).all()
            sides.add((height, width))
    assert len(sides) > 1
    assert sides <= {(side, side) for side in (64, 96, 128)}


def test_cut_mix_ends_with_its_own_setting_or_that_of_mixup(dataset):
    def mixes(**ends):
        reader = darknet_reader(dataset, CutMix(prob=1.0), **ends)
        plain = darknet_reader(dataset)
        pairs = [(next(reader.batches(e)), next(plain.batches(e))) for e in (0, 1, 2)]
        return [not np.array_equal(one["image"], other["image"]) for one, other in pairs]

    assert mixes(mixup_epoch=2) == mixes(mixup_epoch=-1, cutmix_epoch=2) == [True, True, False]
    with pytest.raises(ConfigError, match="TrainReader.cutmix_epoch: found 2, .*CutMix"):
        darknet_reader(dataset, cutmix_epoch=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_may_ask_for_more_images(dataset, workers):
    def batches(count):
        size = DarknetRandomSize(64, every=1, dynamic_minibatch=True)
        settings = {"batch_size": 2, "drop_last": False, "worker_num": count}
        steps = [Decode(), JitterCrop(64)]
        settings.update(shuffle=True, seed=1)
        return list(TrainReader(steps, [size, *LAST], dataset=dataset, **settings).batches(1))

    found = batches(workers)
    assert len(found) == 7  # as without
    shapes = {batch["image"].shape for batch in found}
    assert all(b * h * w <= 2 * 128 * 128 for b, _, h, w in shapes)
    assert max(shape[0] for shape in shapes) > 2
    for batch in found:
        assert len(batch["gt_bbox"]) == len(batch["image"]) == len(batch["im_file"])
    own = [name for batch in found[:6] for name in batch["im_file"][:2]]
    assert len(set(own)) == 12  # the batches' own images come once
    assert_same_batches(found, batches(0))
