"""Registered toy classes, and configurations written on the fly."""

from typing import Literal, Optional

import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config, register


@register
class ToyBackbone:
    __shared__ = ("width_mult",)
    __unused__ = ("legacy",)

    def __init__(self, depth: int = 50, width_mult: float = 1.0, idx: list[int] = (1, 2)):
        self.depth, self.width_mult, self.idx = depth, width_mult, idx
        self.channels = [64, 128]


@register
class ToyNeck:
    def __init__(self, in_channels: list[int] = (8,), act: Literal["mish", "relu"] = "mish"):
        self.in_channels, self.act = in_channels, act

    @classmethod
    def from_config(cls, section, input_shape):
        return {"in_channels": input_shape}


@register
class ToyLoss:
    def __init__(self, weight: float = 2.5, threshold: Optional[float] = None):
        if weight < 0:
            raise ConfigError(f"weight: found {weight}, allowed: 0 and more")
        self.weight, self.threshold = weight, threshold


@register
class ToyDetector:
    __inject__ = ("loss",)

    def __init__(self, backbone, neck, loss="ToyLoss"):
        self.backbone, self.neck, self.loss = backbone, neck, loss

    @classmethod
    def from_config(cls, section):
        backbone = create(section["backbone"], section.config)
        neck = create(section["neck"], section.config, input_shape=backbone.channels)
        return {"backbone": backbone, "neck": neck}


@pytest.fixture
def load(tmp_path):
    """load(text, *overrides) -> the checked configuration of a file c.yml with this text."""

    def _load(text, *overrides, validate=True):
        path = tmp_path / "c.yml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, overrides, validate)

    return _load


@pytest.fixture
def problems(load, tmp_path):
    """problems(text, *overrides) -> what is wrong there, without the folder and what is allowed."""

    def _problems(text, *overrides, validate=True):
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides, validate=validate)
        found = [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]
        return [problem.partition(", allowed")[0].partition("; allowed")[0] for problem in found]

    return _problems
