"""Cutting outlines without the optional package that does it."""

import sys

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.transforms.objects import clip_polygons


def test_missing_shapely(monkeypatch):
    monkeypatch.setitem(sys.modules, "shapely", None)
    with pytest.raises(ConfigError, match="shapely.*RandomCrop.is_mask_crop: false"):
        clip_polygons([np.zeros((3, 2))], 10, 10)
