"""The error about an optional package that is not there."""

import pytest

from ppdet_lite.core.errors import ConfigError, require


def test_a_package_that_is_there():
    assert require("os.path", "the test").join("a", "b")


def test_a_missing_package_says_what_to_install():
    with pytest.raises(ConfigError) as caught:
        require(
            "no_such_package.part",
            "the test",
            "this_extra",
            advice="or do without",
            error=ConfigError,
        )
    assert str(caught.value) == (
        "the test needs the package no_such_package (No module named 'no_such_package'): "
        "pip install no_such_package or pip install 'ppdet_lite[this_extra]' "
        "(in a clone pip install -e '.[this_extra]'), or do without"
    )
