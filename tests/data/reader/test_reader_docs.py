"""docs/reader.md says what the code does."""

import inspect
import re

import pytest

from ppdet_lite.data.cache.image_cache import KINDS, CacheSettings
from ppdet_lite.data.pixels.headers import MAX_PIXELS
from ppdet_lite.data.pixels.pixel_source import largest_reduction
from ppdet_lite.data.reader.readers import TrainReader


@pytest.fixture(scope="module")
def page(repo):
    return (repo / "docs" / "reader.md").read_text(encoding="utf-8")


def words(text):
    return re.sub(r"[\s>]+", " ", text).strip()


def test_the_rule_of_scaled_decoding_is_the_one_of_the_code(page):
    assert words(inspect.getdoc(largest_reduction)) in words(page)


def test_cache_kinds_and_defaults(page):
    for kind in KINDS:
        assert f"| `{kind}` |" in page
    settings = CacheSettings("decoded")
    assert f"`max_side` ({settings.max_side};" in page


def test_keys_that_are_named_exist(page):
    parameters = inspect.signature(TrainReader.__init__).parameters
    for key in re.findall(r"TrainReader\.(\w+)", page):
        assert key in parameters, key
    for key in ("max_bad_fraction", "use_shared_memory", "mosaic_epoch", "mixup_epoch"):
        assert key in parameters and f"`{key}" in page
    assert f"({parameters['max_bad_fraction'].default})" in page
    assert f"({round(MAX_PIXELS / 1e6)} million)" in page


def test_paths_exist(page, repo):
    for path in re.findall(r"`((?:data|tests|tools|configs)/[\w/.]+)`", page):
        inside = repo / path if not path.startswith("data/") else repo / "ppdet_lite" / path
        assert inside.exists(), path
