"""Images whose header is fine and whose pixels turn out to be damaged when they are rendered."""

import logging
from pathlib import Path

import pytest

from ppdet_lite.core.errors import ImageError
from tests.data.readers import assert_same_batches, eval_reader, train_reader


class Invert:
    """A user's own transform."""

    def __call__(self, sample, context=None):
        return {**sample, "image": 255 - sample["image"]}


def spoil(path):
    """Leaves the header of a JPEG as it is and takes away what its pixels are decoded with."""
    Path(path).write_bytes(Path(path).read_bytes().replace(b"\xff\xdb", b"\xff\xfe"))


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_images_found_damaged_when_rendered_are_replaced_as_if_known_before(
    dataset, workers, caplog
):
    """The header of the one file is fine, the other is no image at all: the batches are equal."""
    settings = {"drop_last": False, "max_bad_fraction": 0.2}
    path = dataset.paths[3][0]
    whole = Path(path).read_bytes()
    Path(path).write_bytes(b"no image")
    expected = [list(train_reader(dataset, **settings).batches(epoch)) for epoch in range(2)]
    Path(path).write_bytes(whole)
    spoil(path)
    caplog.clear()
    reader = train_reader(dataset, worker_num=workers, **settings)
    with caplog.at_level(logging.WARNING):
        for epoch in range(2):
            assert_same_batches(expected[epoch], reader.batches(epoch))
    said = [r.message for r in caplog.records if "skipped" in r.message]
    assert len(said) == 1 and said[0].startswith(f"skipped: {path}: not an image")
    assert_same_batches(expected[1][2:], reader.batches(1, start=2))


def test_several_damaged_images_in_one_batch(dataset):
    for index in (2, 5, 7):
        spoil(dataset.paths[index][0])
    settings = {"drop_last": False, "max_bad_fraction": 0.3, "batch_size": 13}
    (batch,) = train_reader(dataset, **settings).batches(0)
    assert len(batch["im_file"]) == 13
    assert not {dataset.paths[index][0] for index in (2, 5, 7)} & set(batch["im_file"])
    reader = train_reader(dataset, worker_num=2, **settings)
    assert_same_batches([batch], reader.batches(0))
    assert len(reader.report.unreadable) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_image_found_damaged_when_rendered_in_evaluation_is_an_error(dataset, workers):
    spoil(dataset.paths[3][0])
    with pytest.raises(ImageError, match=r"03\.jpg: not an image"):
        list(eval_reader(dataset, worker_num=workers))


def test_own_transform_that_sees_a_damaged_image(dataset):
    """It is rendered in the middle of the list then; the batches are the same."""
    settings = {"drop_last": False, "max_bad_fraction": 0.2, "extra_sample": [Invert()]}
    path = dataset.paths[3][0]
    whole = Path(path).read_bytes()
    Path(path).write_bytes(b"no image")
    expected = list(train_reader(dataset, **settings).batches(0))
    Path(path).write_bytes(whole)
    spoil(path)
    assert_same_batches(expected, train_reader(dataset, **settings).batches(0))
