"""The reader of YOLOX: mosaics, padding, ground truth of any length; small, and as shipped."""

from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.pixels.image_ops import Preprocess, decode_image
from ppdet_lite.data.reader.readers import TrainReader
from ppdet_lite.data.transforms.box_formats import PadBox
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.distort import AugmentHSV
from ppdet_lite.data.transforms.expand_flip import RandomFlip
from ppdet_lite.data.transforms.mosaic import Mosaic
from ppdet_lite.data.transforms.normalize import Permute
from ppdet_lite.data.transforms.pad import PadResize
from tests.data import readers
from tests.data.readers import assert_same_batches


def yolox_reader(dataset, prob=1.0, **settings):
    """The YOLOX recipe at a small scale."""
    defaults = {
        "batch_size": 3,
        "shuffle": True,
        "drop_last": True,
        "collate_batch": False,
        "mosaic_epoch": 2,
        "num_classes": 3,
        "seed": 5,
    }
    steps = [
        Decode(),
        Mosaic(prob, [48, 64]),
        AugmentHSV(is_bgr=False, hgain=5, sgain=30, vgain=30),
        PadResize([48, 64]),
        RandomFlip(),
    ]
    return TrainReader(steps, [Permute()], dataset=dataset, **{**defaults, **settings})


def test_batch_contract(dataset):
    batch = next(yolox_reader(dataset).batches(0))
    assert set(batch) == {
        *("image", "im_file", "im_id", "im_shape", "scale_factor"),
        *("gt_bbox", "gt_class", "gt_score"),
    }
    assert batch["image"].shape == (3, 3, 48, 64)
    assert batch["image"].dtype == np.float32
    assert batch["image"].max() > 100  # levels, not fractions
    for key, width, kind in (
        ("gt_bbox", 4, np.float32),
        ("gt_class", 1, np.int32),
        ("gt_score", 1, np.float32),
    ):
        assert isinstance(batch[key], list)
        assert [values.dtype for values in batch[key]] == [kind] * 3
        assert [values.shape[1:] for values in batch[key]] == [(width,)] * 3
    assert [len(boxes) for boxes in batch["gt_bbox"]] == [len(c) for c in batch["gt_class"]]
    for boxes_xyxy in batch["gt_bbox"]:
        assert (boxes_xyxy >= 0).all()
        assert (boxes_xyxy <= [64, 48, 64, 48]).all()
        assert ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) > 1).all()


@pytest.mark.parametrize("prob", [1.0, 0.5])
@pytest.mark.parametrize("shared_memory", [True, False])
def test_same_batches_for_any_number_of_workers(dataset, shared_memory, prob):
    for epoch in (0, 2):
        alone = list(yolox_reader(dataset, prob).batches(epoch))
        assert len(alone) == 4
        for workers in (1, 4):
            settings = {"worker_num": workers, "use_shared_memory": shared_memory}
            assert_same_batches(alone, yolox_reader(dataset, prob, **settings).batches(epoch))


@pytest.mark.parametrize("workers", [0, 2])
def test_start_in_mid_epoch(dataset, workers):
    reader = yolox_reader(dataset, worker_num=workers)
    whole = list(reader.batches(1))
    assert_same_batches(whole[2:], reader.batches(1, start=2))


def has_mosaics(reader, epoch):
    """Images of the small data set have no more than two objects of their own."""
    return any(len(boxes) > 2 for batch in reader.batches(epoch) for boxes in batch["gt_bbox"])


@pytest.mark.parametrize("workers", [0, 2])
def test_mosaic_stops_in_the_epoch_it_names(dataset, workers):
    reader = yolox_reader(dataset, worker_num=workers)
    assert [has_mosaics(reader, epoch) for epoch in range(4)] == [True, True, False, False]


def test_mosaic_epoch_special_values_and_mixup_epoch(dataset):
    assert has_mosaics(yolox_reader(dataset, mosaic_epoch=0), 500)
    assert not has_mosaics(yolox_reader(dataset, mosaic_epoch=-1), 0)
    assert not has_mosaics(yolox_reader(dataset, mosaic_epoch=-1, mixup_epoch=10), 0)


def test_a_data_set_of_one_image(tmp_path):
    dataset = readers.SmallDataset(tmp_path, 1)
    (batch,) = yolox_reader(dataset, batch_size=1).batches(0)
    assert isinstance(batch["gt_bbox"], list)
    assert batch["image"].shape == (1, 3, 48, 64)


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_partners_are_replaced_and_named(dataset, workers):
    Path(dataset.paths[3][0]).write_bytes(b"no image")
    reader = yolox_reader(dataset, worker_num=workers, batch_size=13)
    (batch,) = reader.batches(0)
    assert len(batch["image"]) == 13
    assert list(reader.report.unreadable) == [dataset.paths[3][0]]


def test_pixels_are_rendered_once_by_the_reader(dataset):
    reader = yolox_reader(dataset)
    assert reader.plan.rendered_by == []
    assert reader.plan.largest_pixels() == 48 * 64
    assert reader.input_sizes() == (
        "TrainReader.sample_transforms.PadResize.target_size",
        ((48, 64),),
    )


def test_padded_ground_truth_is_stacked_all_the_same(dataset):
    steps = [Decode(), PadResize(32)]
    settings = {"batch_size": 13, "collate_batch": False, "dataset": dataset}
    (batch,) = TrainReader(steps, [PadBox(4), Permute()], **settings)
    assert batch["gt_bbox"].shape == (13, 4, 4)
    assert batch["gt_class"].shape == (13, 4, 1)


# As shipped ----------------------------------------------------------------------------------

SIZES = {"yolox_s_300e_coco": 640, "yolox_tiny_300e_coco": 416, "yolox_nano_300e_coco": 416}


@pytest.fixture(params=SIZES)
def shipped(request, repo, tiny_coco):
    """(configuration on the tiny data set, side of its evaluation images)."""
    data = [
        f"{section}Dataset.{key}={value}"
        for section, split in (("Train", "train"), ("Eval", "val"))
        for key, value in (
            ("dataset_dir", tiny_coco),
            ("image_dir", "images"),
            ("anno_path", f"annotations/{split}.json"),
        )
    ]
    small = ["num_classes=2", "worker_num=0", "TrainReader.batch_size=4"]
    path = repo / "configs" / "yolox" / f"{request.param}.yml"
    return load_config(path, overrides=[*data, *small]), SIZES[request.param]


def test_shipped_train_reader(shipped):
    cfg, side = shipped
    reader = create("TrainReader", cfg)
    assert reader.plan.rendered_by == []
    assert (*reader.order[1:3], reader.mosaic_epoch) == (True, True, 285)
    mosaic = reader.sample_transforms[1]
    assert mosaic.prob == (0.5 if cfg.name == "yolox_nano_300e_coco" else 1.0)
    assert mosaic.enable_mixup == (side == 640)
    assert mosaic.scale == ([0.1, 2.0] if side == 640 else [0.5, 1.5])
    for epoch in (0, 285):
        batch = next(reader.batches(epoch))
        assert batch["image"].shape == (4, 3, 640, 640)
        assert [len(values) for values in batch["gt_bbox"]] == [len(c) for c in batch["gt_class"]]
        assert max(int(c.max()) for c in batch["gt_class"] if len(c)) <= 1


def test_shipped_evaluation_equals_deployment_to_the_bit(shipped):
    cfg, side = shipped
    reader = create("EvalReader", cfg)
    assert reader.batch_size == (4 if side == 640 else 8)
    batch = next(iter(reader))
    assert batch["image"].shape == (4, 3, side, side)
    settings = create("TestReader", cfg).preprocess_config()
    assert [entry["type"] for entry in settings] == ["Resize", "Pad", "Permute"]
    preprocess = Preprocess(settings)
    for index, path in enumerate(batch["im_file"]):
        deployed = preprocess(decode_image(path))
        for key in ("image", "im_shape", "scale_factor"):
            np.testing.assert_array_equal(deployed[key], batch[key][index])
    # 96 x 128 images: the wide side fills the sheet, gray below.
    np.testing.assert_array_equal(batch["im_shape"], [[side * 3 // 4, side]] * 4)
    assert (batch["image"][:, :, side * 3 // 4 :] == 114).all()
