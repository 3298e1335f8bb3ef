"""The data set that the tests of the readers share."""

import pytest

from tests.data import readers


@pytest.fixture
def dataset(tmp_path):
    return readers.SmallDataset(tmp_path)
