"""The image cache: same pixels, right sizes, a budget that is said and kept."""

import logging
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError, ImageError
from ppdet_lite.data.cache import image_cache, shared_memory
from ppdet_lite.data.cache.image_cache import CacheSettings, ImageCache, cache_settings
from ppdet_lite.data.pixels.pixel_source import ArrayPixels
from tests.data import readers
from tests.data.readers import assert_same_batches, eval_reader, train_reader


@pytest.fixture(params=["encoded", "decoded", "disk"])
def settings(request, tmp_path):
    """The reader's key `cache` for every kind."""
    folder = {"folder": str(tmp_path / "kept")} if request.param == "disk" else {}
    return {"kind": request.param, "budget_mb": 50, **folder}


def opened(settings, dataset, said=None):
    said = [] if said is None else said
    return ImageCache(cache_settings(settings), dataset, said.append, "TrainReader.cache")


class TestSettings:
    def test_defaults(self):
        assert cache_settings(None) is None
        assert cache_settings({"kind": "encoded"}) == CacheSettings("encoded", 2048, 1024)

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("encoded", "cache: found 'encoded', allowed: {kind: encoded, budget_mb: 2048}"),
            ({"kind": "ram"}, "cache.kind: found 'ram', allowed: encoded, decoded, disk"),
            ({}, "cache.kind: found None, allowed: encoded, decoded, disk"),
            ({"kind": "decoded", "budget_mb": 0}, "cache.budget_mb: found 0, allowed: 1 or more"),
            ({"kind": "decoded", "budget_mb": None}, "cache.budget_mb: found None, allowed: 1 or"),
            (
                {"kind": "decoded", "max_side": True},
                "cache.max_side: found True, allowed: 1 or more or null",
            ),
            ({"kind": "disk"}, "cache.folder: needed with kind disk, a folder on a fast disk"),
            ({"kind": "encoded", "max_side": 9}, "cache.max_side: has no effect with kind encoded"),
            ({"kind": "decoded", "folder": "a"}, "cache.folder: has no effect with kind decoded"),
            ({"kind": "decoded", "size": 9}, "cache.size: unknown, allowed: kind, budget_mb, max_"),
        ],
    )
    def test_errors(self, value, problem):
        with pytest.raises(ConfigError) as error:
            cache_settings(value)
        assert problem in str(error.value)

    def test_kept_sizes(self):
        settings = cache_settings({"kind": "decoded", "max_side": 100})
        assert [settings.reduction((h, 40)) for h in (60, 100, 101, 200, 201)] == [1, 1, 2, 2, 3]
        assert settings.kept_hw((201, 50)) == (67, 17)
        free = cache_settings({"kind": "decoded", "max_side": None})
        assert free.kept_hw((9000, 50)) == (9000, 50)


def test_encoded_bytes_are_those_of_the_file(dataset):
    cache = opened({"kind": "encoded"}, dataset)
    path = dataset.image_path(0)
    content = Path(path).read_bytes()
    assert bytes(cache.read(path)) == content
    Path(path).unlink()
    assert bytes(cache.read(path)) == content
    assert (cache.store.used, cache.store.count) == (len(content), 1)
    with pytest.raises(ImageError, match=r"nowhere\.jpg: cannot be read"):
        cache.read("nowhere.jpg")


@pytest.mark.parametrize("kind", ["decoded", "disk"])
def test_pixels_are_decoded_once(dataset, tmp_path, kind):
    folder = {"folder": str(tmp_path / "kept")} if kind == "disk" else {}
    cache = opened({"kind": kind, **folder}, dataset)
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    made = []

    def make():
        made.append(1)
        return ArrayPixels(image)

    path = dataset.image_path(0)
    first, second = (cache.source(path, "", make, Counter()) for _ in range(2))
    assert len(made) == 1
    for source in (first, second):
        assert (source.size_hw, source.usable_reduction(1)) == ((7, 5), 1)
        np.testing.assert_array_equal(source.pixels(1), image)
    cache.source(path, "as stored", make, Counter())
    cache.source(dataset.image_path(1), "", make, Counter())
    assert (len(made), cache.store.count) == (3, 3)


def test_large_images_are_kept_smaller_also_those_without_room(dataset):
    settings = {"kind": "decoded", "max_side": 4, "budget_mb": 1}
    image = np.arange(9 * 6 * 3, dtype=np.uint8).reshape(9, 6, 3)
    roomy, full = opened(settings, dataset), opened(settings, dataset)
    full.store.budget = 0
    kept, not_kept = (
        cache.source("a", "", lambda: ArrayPixels(image), Counter()) for cache in (roomy, full)
    )
    assert (kept.size_hw, kept.usable_reduction(1), kept.pixels().shape) == ((9, 6), 3, (3, 2, 3))
    np.testing.assert_array_equal(kept.pixels(1), not_kept.pixels(1))
    assert (roomy.store.count, full.store.count) == (1, 0)
    expected = image.reshape(3, 3, 2, 3, 3).mean((1, 3))
    np.testing.assert_allclose(kept.pixels(1), expected, atol=0.5)


# The budget ----------------------------------------------------------------------------------


def test_what_is_expected_is_said_first(dataset, settings):
    said = []
    cache = opened(settings, dataset, said)
    assert cache.store.count == 0
    what = {
        "encoded": "encoded files in memory",
        "decoded": "decoded pixels in memory",
        "disk": f"decoded pixels in {settings.get('folder')}",
    }[settings["kind"]]
    (line,) = said
    assert line.startswith(f"TrainReader.cache: {what}, at most 50 MB; all 13 images need about 1 ")
    assert line.endswith("all of them fit")


def test_too_small_a_budget_is_said(dataset, monkeypatch):
    monkeypatch.setattr(image_cache, "_MEGABYTE", 1000)
    said = []
    cache = opened({"kind": "encoded", "budget_mb": 2}, dataset, said)
    need = sum(os.path.getsize(path) for path, _, _ in dataset.paths)
    (line,) = said
    assert "at most 2 MB" in line and f"need about {-(-need // 1000)} MB" in line
    assert f"about {100 * 2000 / need:.0f}% of them fit" in line
    for path, _, _ in dataset.paths:
        assert bytes(cache.read(path)) == Path(path).read_bytes()
    assert 0 < cache.store.used <= 2000
    assert 0 < cache.store.count < 13


def test_estimate_of_pixels(dataset):
    settings = cache_settings({"kind": "decoded", "max_side": 50})
    paths = [path for path, _, _ in dataset.paths]
    need, sampled = image_cache.expected_bytes(settings, paths)
    cache = opened({"kind": "decoded", "max_side": 50}, dataset)
    for path in paths:
        cache.source(path, "", lambda p=path: ArrayPixels(cv2.imread(p)), Counter())
    assert sampled == cache.store.count == 13
    assert abs(need - cache.store.used) <= 13  # a mean, cut off


def test_little_free_memory_lowers_the_budget(dataset, monkeypatch):
    monkeypatch.setattr(image_cache, "available_bytes", lambda: 10_000)
    said = []
    cache = opened({"kind": "encoded"}, dataset, said)
    assert "only 0 MB are free; the budget of 2048 MB becomes 0 MB" in said[0]
    for path, _, _ in dataset.paths:
        cache.read(path)
    assert 0 < cache.store.used <= 8000


def test_memory_that_cannot_be_had_means_no_cache(dataset, monkeypatch):
    def refuse(count):
        if count > 10**6:
            raise OSError(12, "Cannot allocate memory")
        return shared_memory.shared_bytes(count)

    monkeypatch.setattr("ppdet_lite.data.cache.stores.shared_bytes", refuse)
    said = []
    cache = opened({"kind": "encoded"}, dataset, said)
    assert "2048 MB of memory cannot be had" in said[1]
    assert bytes(cache.read(dataset.image_path(0))) == Path(dataset.image_path(0)).read_bytes()
    assert cache.store.count == 0


# The folder ----------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    return {"kind": "disk", "folder": str(tmp_path / "kept")}


def kept_image(cache, path, value=0):
    image = np.full((4, 4, 3), value, np.uint8)
    return int(cache.source(path, "", lambda: ArrayPixels(image), Counter()).pixels().max())


def test_a_later_run_finds_the_pixels(dataset, disk):
    path = dataset.image_path(0)
    assert kept_image(opened(disk, dataset), path, 1) == 1
    assert kept_image(opened(disk, dataset), path, 2) == 1
    assert kept_image(opened({**disk, "max_side": 2}, dataset), path, 3) == 3


def test_a_changed_file_is_decoded_again(dataset, disk):
    path = dataset.image_path(0)
    kept_image(opened(disk, dataset), path, 1)
    os.utime(path, ns=(1, 1))
    assert kept_image(opened(disk, dataset), path, 2) == 2


def test_a_damaged_entry_is_decoded_again(dataset, disk):
    path = dataset.image_path(0)
    kept_image(opened(disk, dataset), path, 1)
    (entry,) = Path(disk["folder"]).iterdir()
    for content in (b"", entry.read_bytes()[:-1], b"x" * 64):
        entry.write_bytes(content)
        assert kept_image(opened(disk, dataset), path, 2) == 2


def test_a_full_disk_is_noted_once(dataset, disk, monkeypatch):
    cache, notes = opened(disk, dataset), Counter()

    def no_space(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    for index in range(3):
        source = cache.source(
            dataset.image_path(index), "", lambda: ArrayPixels(np.zeros((4, 4, 3), np.uint8)), notes
        )
        assert isinstance(source, ArrayPixels)
    assert notes == {
        f"cache: {disk['folder']} takes no more images ([Errno 28] No space left on device)": 1
    }


def test_a_folder_that_cannot_be(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"TrainReader\.cache\.folder: .*file cannot be used"):
        opened({"kind": "disk", "folder": str(tmp_path / "file")}, dataset)


# In a reader ---------------------------------------------------------------------------------


def assert_close_batches(first, second):
    """All numbers the same but the pixels, which may differ a little."""
    first, second = list(first), list(second)
    assert len(first) == len(second) > 0
    for one, other in zip(first, second):
        assert np.abs(one["image"] - other["image"]).mean() < 0.05
        np.testing.assert_array_equal(one["gt_bbox"], other["gt_bbox"])
        np.testing.assert_array_equal(one["target0"], other["target0"])
        assert one["im_file"] == other["im_file"]


def test_same_batches_for_any_workers_and_filling(dataset, settings):
    for epoch in (0, 1):
        plain = list(train_reader(dataset).batches(epoch))
        wanted = list(train_reader(dataset, cache=settings).batches(epoch))
        if settings["kind"] == "encoded":
            assert_same_batches(plain, wanted)
        else:  # whole images where the reader would have decoded smaller ones
            assert_close_batches(plain, wanted)
        for workers in (0, 1, 3):
            reader = train_reader(dataset, cache=settings, worker_num=workers)
            list(reader.batches(5))
            assert reader.data.cache.store.count > 5
            assert_same_batches(wanted, reader.batches(epoch))


def test_evaluation_at_full_size_is_the_same_with_any_cache(dataset, settings):
    wanted = list(eval_reader(dataset))
    reader = eval_reader(dataset, cache=settings)
    for _ in range(2):
        assert_same_batches(wanted, reader)
    assert reader.data.cache.store.count == 13


def test_reduced_pixels_keep_sizes_boxes_and_determinism(dataset):
    settings = {"kind": "decoded", "max_side": 30}
    plain = list(train_reader(dataset).batches(0))
    wanted = list(train_reader(dataset, cache=settings).batches(0))
    assert not np.array_equal(plain[0]["image"], wanted[0]["image"])
    for one, other in zip(plain, wanted):
        for key in ("gt_bbox", "im_shape", "scale_factor", "target0", "target1"):
            np.testing.assert_array_equal(one[key], other[key])
        assert np.abs(one["image"] - other["image"]).mean() < 0.3
    for workers in (0, 2):
        reader = train_reader(dataset, cache=settings, worker_num=workers)
        for _ in range(2):  # while it is filled, and from it
            assert_same_batches(wanted, reader.batches(0))


def test_workers_fill_it_for_later_epochs(dataset, settings):
    reader = train_reader(dataset, cache=settings, worker_num=2, drop_last=False)
    list(reader.batches(0))
    assert reader.data.cache.store.count == 13
    if settings["kind"] == "encoded":
        for path, _, _ in dataset.paths:
            Path(path).unlink()
        assert len(list(reader.batches(1))) == 5


def test_a_bound_reader_shares_it_for_the_same_data_only(dataset, tmp_path, caplog):
    (tmp_path / "more").mkdir()
    with caplog.at_level(logging.INFO):
        reader = eval_reader(dataset, cache={"kind": "encoded"})
        list(reader)
        list(reader)
        assert reader(reader.dataset, 2).data.cache is reader.data.cache
        other = reader(readers.SmallDataset(tmp_path / "more", 3))
        assert other.data.cache is not reader.data.cache
    said = [r.message for r in caplog.records if "EvalReader.cache: encoded" in r.message]
    assert len(said) == 2


def test_unreadable_images_are_replaced_as_without(dataset, settings):
    Path(dataset.paths[3][0]).write_bytes(b"no image")
    plain = {"drop_last": False, "max_bad_fraction": 0.2}
    wanted = list(train_reader(dataset, **plain).batches(0))
    reader = train_reader(dataset, cache=settings, **plain)
    for _ in range(2):
        assert_close_batches(wanted, reader.batches(0))
    assert list(reader.report.unreadable) == [dataset.paths[3][0]]


def test_turned_images(dataset, settings):
    """EXIF says turned; annotated as turned in one reader, as stored in the other."""
    path, height, width = dataset.paths[0]
    image = cv2.imread(path)
    assert image.shape[0] != image.shape[1]
    cv2.imwrite(path, image)
    content = Path(path).read_bytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    Path(path).write_bytes(content[:2] + segment + content[2:])
    for size in ((height, width), (width, height)):
        dataset.paths[0] = (path, *size)
        wanted = list(eval_reader(dataset))
        reader = eval_reader(dataset, cache=settings)
        for _ in range(2):
            assert_same_batches(wanted, reader)


def test_config_errors_name_the_key(repo):
    from ppdet_lite.core.workspace import create, load_config

    cfg = load_config(
        repo / "configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml",
        overrides=["TrainReader.cache.kind=ram"],
    )
    with pytest.raises(ConfigError, match=r"TrainReader.*cache\.kind: found 'ram', allowed: enc"):
        create("TrainReader", cfg)
