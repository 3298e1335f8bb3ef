"""Data that does not fit the configuration is found before any work."""

from types import SimpleNamespace

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.evaluate.checks import (
    check_files,
)


class _Data(SimpleNamespace):
    def __len__(self):
        return self.length


def data(names, name="train.json"):
    return _Data(class_names=names, name=name, length=3)


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
