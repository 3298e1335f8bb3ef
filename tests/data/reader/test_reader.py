import contextlib
import logging
import struct
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, DataError, ImageError
from ppdet_lite.data.reader.collate import RawBatch
from ppdet_lite.data.reader.data import Report
from ppdet_lite.data.reader.readers import EvalReader, TestReader, TrainReader
from ppdet_lite.data.transforms.decode import Decode
from ppdet_lite.data.transforms.normalize import NormalizeImage
from ppdet_lite.data.transforms.resize import Resize
from tests.data import readers
from tests.data.readers import assert_same_batches, eval_reader, train_reader


def test_train_batch_contract(dataset):
    batch = next(train_reader(dataset).batches(0))
    size = batch["image"].shape[2]
    expected = {
        "image": ((3, 3, size, size), np.float32),
        "im_id": ((3, 1), np.int64),
        "im_shape": ((3, 2), np.float32),
        "scale_factor": ((3, 2), np.float32),
        "gt_bbox": ((3, 6, 4), np.float32),
        "target0": ((3, 3, 9, size // 32, size // 32), np.float32),
        "target1": ((3, 3, 9, size // 16, size // 16), np.float32),
    }
    arrays = {k: (v.shape, v.dtype) for k, v in batch.items() if k != "im_file"}
    assert arrays == expected
    assert [Path(name).suffix for name in batch["im_file"]] == [".jpg"] * 3
    np.testing.assert_array_equal(batch["im_shape"], size)
    assert batch["gt_bbox"].min() >= 0
    assert batch["gt_bbox"].max() <= 1


def test_eval_batch_contract(dataset):
    batches = list(eval_reader(dataset))
    assert [len(batch["image"]) for batch in batches] == [4, 4, 4, 1]
    assert list(batches[0]) == ["image", "im_file", "im_id", "im_shape", "scale_factor"]
    assert batches[0]["image"].shape == (4, 3, 48, 64)
    ids = np.concatenate([batch["im_id"][:, 0] for batch in batches])
    np.testing.assert_array_equal(ids, np.arange(100, 113))
    _, height, width = dataset.paths[0]
    np.testing.assert_allclose(batches[0]["scale_factor"][0], [48 / height, 64 / width])


@pytest.mark.parametrize("shared_memory", [True, False])
def test_same_batches_for_any_number_of_workers(dataset, shared_memory):
    for epoch in (0, 1):
        alone = list(train_reader(dataset).batches(epoch))
        assert len(alone) == 4
        for workers in (1, 4):
            reader = train_reader(dataset, worker_num=workers, use_shared_memory=shared_memory)
            assert_same_batches(alone, reader.batches(epoch))
            reader.close()


def test_eval_batches_for_any_number_of_workers(dataset):
    assert_same_batches(eval_reader(dataset), eval_reader(dataset, worker_num=3))


@pytest.mark.parametrize("workers", [0, 2])
def test_start_in_mid_epoch(dataset, workers):
    reader = train_reader(dataset, worker_num=workers)
    whole = list(reader.batches(3))
    assert_same_batches(whole[2:], reader.batches(3, start=2))
    assert list(reader.batches(3, start=4)) == []


def test_epochs_differ(dataset):
    reader = train_reader(dataset)
    first, second = list(reader), list(reader.batches(1))
    assert [b["im_file"] for b in first] != [b["im_file"] for b in second]
    assert_same_batches(first, reader.batches(0))


def test_seed_changes_the_batches(dataset):
    first, second = (next(train_reader(dataset, seed=seed).batches(0)) for seed in (1, 2))
    assert first["im_file"] != second["im_file"]


def test_ranks_share_the_images_and_the_size(dataset):
    ranks = []
    for rank in range(2):
        reader = train_reader(dataset, drop_last=False, batch_size=2)
        reader = reader.bound(rank=rank, world_size=2)
        ranks.append(list(reader.batches(0)))
        assert len(ranks[-1]) == len(reader)
    for one, other in zip(*ranks):
        assert one["image"].shape[2:] == other["image"].shape[2:]
    names = [name for batches in ranks for batch in batches for name in batch["im_file"]]
    assert sorted(names) == sorted(path for path, _, _ in dataset.paths)


def sizes_of_ranks(dataset, **settings):
    """Per rank and batch the size of the images, over three epochs."""
    sizes = []
    for rank in range(3):
        reader = train_reader(dataset, batch_size=1, **settings).bound(rank=rank, world_size=3)
        sizes.append([b["image"].shape[2] for epoch in range(3) for b in reader.batches(epoch)])
    return sizes


@pytest.mark.parametrize("workers", [0, 2])
def test_a_size_per_rank_on_request(dataset, workers):
    together = sizes_of_ranks(dataset, worker_num=workers)
    assert together[0] == together[1] == together[2]
    assert len(set(together[0])) > 1
    apart = sizes_of_ranks(dataset, worker_num=workers, size_per_rank=True)
    assert apart[0] == together[0]
    assert len({tuple(sizes) for sizes in apart}) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_differ_by_epoch_and_cover_every_image(dataset, workers):
    shards = []
    for epoch in range(3):
        names = []
        for rank in range(2):
            reader = train_reader(dataset, drop_last=False, batch_size=2, worker_num=workers)
            reader = reader.bound(rank=rank, world_size=2)
            names.append([name for batch in reader.batches(epoch) for name in batch["im_file"]])
        assert sorted(names[0] + names[1]) == sorted(path for path, _, _ in dataset.paths)
        shards.append(frozenset(names[0]))
    assert len(set(shards)) == 3


def test_eval_ranks_share_the_images(dataset):
    ids = []
    for rank in range(3):
        reader = eval_reader(dataset).bound(rank=rank, world_size=3)
        ids += [int(i) for batch in reader for i in batch["im_id"][:, 0]]
    assert sorted(ids) == list(range(100, 113))


@pytest.mark.parametrize("workers", [0, 2])
def test_mixup_stops_in_the_epoch_it_names(dataset, workers):
    reader = train_reader(dataset, mixup_epoch=2, worker_num=workers)
    mixed = [
        any(((t > 0) & (t < 1)).any() for b in reader.batches(e) for t in [b["target1"][:, :, 5]])
        for e in range(4)
    ]
    assert mixed == [True, True, False, False]


def test_mixup_epoch_special_values(dataset):
    def is_mixed(mixup_epoch):
        batches = train_reader(dataset, mixup_epoch=mixup_epoch).batches(500)
        return any(((t > 0) & (t < 1)).any() for b in batches for t in [b["target1"][:, :, 5]])

    assert is_mixed(0)
    assert not is_mixed(-1)


def test_drop_empty(dataset):
    reader = train_reader(dataset, drop_last=False, drop_empty=True, batch_size=1)
    assert len(reader) == 11
    names = [batch["im_file"][0] for batch in reader]
    assert not any(name.endswith(("04.jpg", "09.jpg")) for name in names)
    assert len(train_reader(dataset, drop_last=False, batch_size=1)) == 13


def test_objects_beyond_the_limit_are_counted_and_said_once(dataset, caplog):
    reader = train_reader(dataset, mixup_epoch=-1)
    reader.plan.batch_steps[2].num_max_boxes = 1
    with caplog.at_level(logging.WARNING):
        for epoch in range(3):
            list(reader.batches(epoch))
    said = [r.message for r in caplog.records if "num_max_boxes 1" in r.message]
    assert len(said) == 1
    assert list(reader.report.notes.values())[0] > 3


def test_notes_that_name_different_files_are_of_one_kind(caplog):
    report = Report(0.1)
    with caplog.at_level(logging.WARNING):
        for name in ("a.jpg", "b.jpg"):
            notes = Counter({f"images of another size (first: {name}, 3x4)": 2})
            report.add(RawBatch({}, None, notes, {}), 10)
    assert len(caplog.records) == 1 and "a.jpg" in caplog.text
    assert report.notes == {"images of another size": 4}


# Unreadable images -------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_replaced_named_and_counted(dataset, workers, caplog):
    Path(dataset.paths[3][0]).write_bytes(b"no image")
    settings = {"drop_last": False, "max_bad_fraction": 0.2}
    reader = train_reader(dataset, worker_num=workers, **settings)
    with caplog.at_level(logging.WARNING):
        batches = [list(reader.batches(epoch)) for epoch in range(2)]
    assert [sum(len(b["image"]) for b in epoch) for epoch in batches] == [13, 13]
    assert not any("03.jpg" in name for e in batches for b in e for name in b["im_file"])
    assert list(reader.report.unreadable) == [dataset.paths[3][0]]
    said = [r.message for r in caplog.records if "skipped" in r.message]
    assert len(said) == 1 and said[0].startswith(f"skipped: {dataset.paths[3][0]}: not an image")
    assert_same_batches(batches[1], train_reader(dataset, **settings).batches(1))


def test_too_many_unreadable_images_are_an_error(dataset):
    for index in (2, 3):
        Path(dataset.paths[index][0]).write_bytes(b"")
    with pytest.raises(DataError) as error:
        for epoch in range(3):
            list(train_reader(dataset, max_bad_fraction=0.1).batches(epoch))
    text = str(error.value)
    assert "2 of 13" in text and "max_bad_fraction 0.1" in text
    assert dataset.paths[2][0] in text and dataset.paths[3][0] in text


def test_nothing_readable_is_an_error(dataset):
    for path, _, _ in dataset.paths:
        Path(path).unlink()
    with pytest.raises(DataError, match="20 images in a row cannot be read; the last: .*jpg: "):
        next(train_reader(dataset, max_bad_fraction=1.0).batches(0))


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_image_in_evaluation_is_an_error_at_once(dataset, workers):
    Path(dataset.paths[3][0]).write_bytes(b"")
    with pytest.raises(ImageError, match=r"03\.jpg: the file is empty"):
        list(eval_reader(dataset, worker_num=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_decompression_bombs_cost_one_line_and_no_memory(dataset, workers, caplog):
    """A file of some bytes that says it has 10^10 pixels."""
    header = struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header
    path = Path(dataset.paths[3][0])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0" * 16)
    reader = train_reader(dataset, drop_last=False, worker_num=workers)
    with caplog.at_level(logging.WARNING):
        for epoch in range(2):
            assert sum(len(batch["image"]) for batch in reader.batches(epoch)) == 13
    said = [record.message for record in caplog.records if "skipped" in record.message]
    assert len(said) == 1 and said[0].startswith(f"skipped: {path}: 100000x100000")


def test_wrong_num_classes_is_named(dataset):
    reader = train_reader(dataset, num_classes=2)
    with pytest.raises(DataError, match=r"\.jpg: class index 2 does not fit num_classes 2; set"):
        list(reader.batches(0))


def test_images_of_different_sizes_are_refused(dataset):
    reader = EvalReader([Decode()], batch_size=4, dataset=dataset)
    with pytest.raises(DataError, match="images of different sizes in one batch"):
        list(reader)
    floats = EvalReader([Decode(), NormalizeImage(), lambda s, c: s], batch_size=4, dataset=dataset)
    with pytest.raises(DataError, match="images of different sizes in one batch"):
        list(floats)
    single = EvalReader([Decode()], batch_size=1, dataset=dataset)
    assert [batch["image"].shape[2:] for batch in single] == [p[1:] for p in dataset.paths]


@pytest.mark.parametrize("suffix", ["00.jpg", "01.jpg"])
@pytest.mark.parametrize("key", ["gt_class", "depth"])
def test_fields_that_not_all_samples_of_a_batch_have(dataset, suffix, key):
    """Whichever comes first: nothing is left out in silence."""

    def unlike(sample, context=None):
        if key == "gt_class" and sample["im_file"].endswith(suffix):
            del sample[key]
        elif key == "depth" and not sample["im_file"].endswith(suffix):
            sample[key] = 1.0
        return sample

    reader = TrainReader([Decode(), Resize(32), unlike], batch_size=2, dataset=dataset)
    with pytest.raises(DataError, match=rf"{suffix}: found no {key}, which others"):
        list(reader)


def test_errors_in_transforms_name_their_place(dataset):
    steps = [Decode(), Resize(32), lambda sample, context: None]
    with pytest.raises(RuntimeError, match=r"^TrainReader\.sample_transforms\.2\.function failed"):
        list(TrainReader(steps, dataset=dataset))
    with pytest.raises(ConfigError, match=r"^EvalReader\.sample_transforms\.0\.Resize: .*Decode"):
        list(EvalReader([Resize(32)], dataset=dataset))
    settings = {"aspect_ratio": [2, 1]}
    with pytest.raises(ConfigError, match=r"TrainReader\.sample_transforms\.1\.RandomCrop.*aspect"):
        TrainReader([{"Decode": {}}, {"RandomCrop": settings}])


def test_ground_truth_of_different_lengths(dataset):
    steps = [Decode(), Resize(32)]
    with pytest.raises(DataError, match="different numbers of gt_bbox; add PadBox"):
        list(TrainReader(steps, batch_size=5, dataset=dataset))
    loose = TrainReader(steps, batch_size=5, dataset=dataset, collate_batch=False)
    batch = next(iter(loose))
    assert [len(boxes) for boxes in batch["gt_bbox"]] == [2, 2, 2, 2, 0]


def test_readers_without_transforms_are_refused(dataset):
    with pytest.raises(ConfigError, match="TestReader.sample_transforms: found none, needed"):
        TestReader().preprocess_config()
    with pytest.raises(ConfigError, match="sample_transforms: Decode is missing"):
        next(iter(EvalReader(dataset=dataset)))


def test_preprocess_config(dataset):
    assert eval_reader(dataset).preprocess_config() == [
        {"type": "Resize", "target_size": [48, 64], "keep_ratio": False, "interp": 2},
        {
            "type": "NormalizeImage",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "is_scale": True,
            "norm_type": "mean_std",
        },
        {"type": "Permute"},
    ]


def test_bound_readers_are_independent(dataset, tmp_path):
    reader = eval_reader(None)
    with pytest.raises(DataError, match="EvalReader has no data set; set EvalDataset"):
        len(reader)
    bound = reader(dataset, worker_num=2)
    assert (bound.worker_num, reader.worker_num) == (2, 0)
    assert len(bound) == 4
    (tmp_path / "more").mkdir()
    other = reader(readers.SmallDataset(tmp_path / "more", 3))
    assert len(other) == 1
    assert len(bound) == 4


def test_a_clock_sees_every_step_and_file(dataset):
    seen = []

    @contextlib.contextmanager
    def clock(step, path=""):
        seen.append((step, path))
        yield
        seen.append((f"end of {step}", path))

    batches = list(train_reader(dataset).bound(clock=clock).batches(0))
    steps = Counter(step for step, _ in seen if not step.startswith("end of "))
    assert steps == Counter(step[7:] for step, _ in seen if step.startswith("end of "))
    assert {"RandomCrop", "PadBox", "Gt2YoloTarget", "render", "thumbnail", "decode"} <= set(steps)
    assert steps["batch"] == steps["finish"] == steps["stack"] == len(batches) == 4
    assert steps["Mixup"] == steps["render"] == steps["normalize"] == 12
    assert not {"NormalizeImage", "Permute"} & set(steps)  # settings of "normalize"
    files = {path for step, path in seen if step == "decode"}
    assert {name for batch in batches for name in batch["im_file"]} <= files
    assert_same_batches(batches, train_reader(dataset).batches(0))


def test_a_reader_does_not_change(dataset):
    for name in ("seed", "rank", "raw_pixels", "epoch"):
        with pytest.raises(AttributeError, match=rf"{name}: .*bound\("):
            setattr(eval_reader(dataset), name, 1)


def test_bad_settings():
    with pytest.raises(ConfigError, match="batch_size: found 0, allowed: 1 or more"):
        TrainReader(batch_size=0)
    with pytest.raises(ConfigError, match="max_bad_fraction: found 2, allowed: 0 to 1"):
        TrainReader(max_bad_fraction=2)
    with pytest.raises(ConfigError, match="worker_num: found -1"):
        TrainReader(worker_num=-1)


def test_batches_do_not_share_memory(dataset):
    """A kept batch must not change when the next one is made in the same buffer."""
    batches = train_reader(dataset).batches(0)
    first = next(batches)
    kept = {key: np.copy(value) for key, value in first.items() if key != "im_file"}
    list(batches)
    for key, value in kept.items():
        np.testing.assert_array_equal(first[key], value)


def test_16_bit_and_gray_files_in_one_batch(dataset):
    path, height, width = dataset.paths[0]
    deep = np.full((height, width), 40000, np.uint16)
    cv2.imwrite(path + ".png", deep)
    dataset.paths[0] = (path + ".png", height, width)
    gray = np.full(dataset.paths[1][1:], 99, np.uint8)
    cv2.imwrite(dataset.paths[1][0], gray)
    assert len(next(iter(eval_reader(dataset)))["image"]) == 4
