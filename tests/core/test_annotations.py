"""Annotations as checks: rules beside types, numbers that are none, constructors called by hand."""

from typing import Annotated, Optional, Sequence

import numpy as np
import pytest

from ppdet_lite.core.annotations import Rule, checked, describe, matches
from ppdet_lite.core.errors import ConfigError

Share = Annotated[float, Rule(lambda value: 0 <= value <= 1, "0 to 1")]


class Part:
    @checked
    def __init__(self, share: Share = 0.5, *, shares: Sequence[Share] = (), other=None):
        self.share = share


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (1, Share, True),
        (1.5, Share, False),
        ("1", Share, False),  # the rule is not even asked
        ([0.5, 2], Sequence[Share], False),
        (None, Optional[Share], True),
        (float("nan"), float, False),
        (float("inf"), float, False),
        (10**400, float, False),
        (True, float, False),
    ],
)
def test_what_fits(value, annotation, fits):
    assert matches(value, annotation) is fits


def test_a_rule_describes_itself():
    assert describe(Optional[Share]) == "0 to 1 or null"


def test_a_checked_constructor_names_every_argument_that_does_not_fit():
    assert Part(np.float32(0.5), shares=np.ones(3), other=object()).share == 0.5
    with pytest.raises(ConfigError) as caught:
        Part(2, shares=[0.5, -1])
    assert caught.value.problems == [
        "share: found 2, allowed: 0 to 1",
        "shares: found [0.5, -1], allowed: a list, each element 0 to 1",
    ]
    with pytest.raises(TypeError, match="unexpected"):
        Part(unknown=1)
