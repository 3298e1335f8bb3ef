"""Published weights by name; `zoo.yml` lists them."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Mapping, Optional

import numpy as np

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.yaml import read_yaml
from ppdet_lite.utils.files import replacing, sha256_of
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.weights.checkpoint import read_meta, save_checkpoint
from ppdet_lite.weights.convert.converter import Converter
from ppdet_lite.weights.convert.darknet import DarknetConverter
from ppdet_lite.weights.convert.yolox import YOLOXConverter
from ppdet_lite.weights.download import (
    RemoteFile,
    check_native,
    fetch_file,
    fetch_weights,
    is_url,
    kept_sha256,
)
from ppdet_lite.weights.files import find_weight_file, has_weight_file
from ppdet_lite.weights.manifest import META, WEIGHTS, sealed

ZOO_FILE = Path(__file__).with_name("zoo.yml")

_CONVERTERS: dict[str, type[Converter]] = {".pth": YOLOXConverter, ".weights": DarknetConverter}
"""By the ending of a published file."""


@dataclass(frozen=True)
class ZooEntry:
    """Published weights, with the keys of `zoo.yml`.

    Attributes:
        name: as users ask for them.
        address: https.
        size: in bytes, where it is known.
        sha256: where it is known.
        license: of the weights.
        reported: the metric (AP or AP50, in percent), `images` and `size` it was reported for.
        config: name of the configuration whose network they fill; None for a backbone.
        classes: "coco" for the classes of COCO in its order.
    """

    name: str
    address: str
    size: Optional[int] = None
    sha256: Optional[str] = None
    license: str = ""
    reported: Optional[dict[str, Any]] = None
    config: Optional[str] = None
    classes: Optional[str] = None

    @property
    def is_native(self) -> bool:
        """True for a file of Paddle, which needs no conversion."""
        return self.address.endswith(WEIGHTS)

    @property
    def remote(self) -> RemoteFile:
        """The file as it is published."""
        name = self.address.rpartition("/")[2]
        check = check_native if self.is_native else _check_foreign
        return RemoteFile(self.address, name, self.size, self.sha256 or "", check)

    def path(self, folder: str = "") -> str:
        """Place of the weights in the cache, whether or not they are there."""
        raw = self.remote.path(folder)
        return (
            raw if self.is_native else os.path.join(os.path.dirname(raw), f"{self.name}.pdparams")
        )

    def fetch(self, folder: str = "", *, offline: bool = False) -> str:
        """Path of the weights, which are downloaded, and converted, where they are not there yet.

        Args:
            folder: in place of the cache.
            offline: use nothing but what is there.

        Raises:
            CheckpointError: they cannot be fetched; names the address and the place for a file that
                was fetched by hand.
        """
        raw, path = fetch_file(self.remote, folder, offline=offline), self.path(folder)
        facts = {"weights": self.name, "source": self.address, "config": self.config}
        facts.update({"license": self.license, "classes": self.classes})
        if not self.is_native:
            self._convert(raw, path, facts)
        elif self.config and read_meta(path) != facts and os.access(os.path.dirname(path), os.W_OK):
            with replacing(os.path.splitext(path)[0] + META) as stream:
                stream.write(sealed(facts, {}))
        return path

    def _convert(self, raw: str, path: str, facts: dict) -> None:
        source = kept_sha256(raw) or sha256_of(raw)
        if os.path.isfile(path) and read_meta(path).get("converted_from") == source:
            return
        state = _converted(raw, raw)
        folder, name = os.path.split(path)
        meta = {**facts, "converted_from": source}
        save_checkpoint(folder, name[: -len(".pdparams")], state, meta)
        get_logger().info("Converted %s to %s", raw, path)


def _converted(path: str, name: str) -> dict[str, np.ndarray]:
    converter = _CONVERTERS[os.path.splitext(name)[1]]()
    return converter.convert(converter.read(Path(path)))


def _check_foreign(path: str, name: str) -> None:
    _converted(path, name)


@cache
def read_zoo(path: Path = ZOO_FILE) -> Mapping[str, ZooEntry]:
    """Name -> entry, in the order of the file."""
    content: Mapping[str, dict] = read_yaml(path, CheckpointError).value
    return {name: ZooEntry(name, **facts) for name, facts in content.items()}


def weights_of_config(config: str) -> list[str]:
    """Names of the published weights of a configuration."""
    return [name for name, entry in read_zoo().items() if entry.config == config]


def entry_of(name: str) -> Optional[ZooEntry]:
    """The entry of a name, also with the ending .pdparams, or of an address; None without one."""
    zoo = read_zoo()
    if is_url(name):
        return next((entry for entry in zoo.values() if entry.address == name), None)
    return zoo.get(_without_ending(name))


def fetch_by_name(name: str, *, offline: bool = False) -> str:
    """Path of published weights in the cache, fetched if they are not there.

    Args:
        name: of the zoo, also with the ending .pdparams, or an address.
        offline: use nothing but what is there.

    Raises:
        CheckpointError: there is no such name, or they cannot be fetched.
    """
    known = entry_of(name)
    if known is not None:
        return known.fetch(offline=offline)
    if is_url(name):
        return fetch_weights(name, offline=offline)
    name = _without_ending(name)
    hint = nearest_hint(name, read_zoo())
    raise CheckpointError(f"no published weights are called {name}{hint} (ppdet weights list)")


def _without_ending(name: str) -> str:
    is_file_name = name.endswith(".pdparams") and not is_url(name)
    return name[: -len(".pdparams")] if is_file_name else name


def locate_weights(weights: str, *, offline: bool = False) -> str:
    """Path of the file that a setting names: a local file, with or without its suffix; else an
    address or a name of the zoo, which are fetched.

    Raises:
        CheckpointError: it cannot be fetched, or there is no such file and no such name.
    """
    if not is_url(weights) and has_weight_file(weights):
        return weights
    zoo = read_zoo()
    if is_url(weights) or _without_ending(weights) in zoo:
        return fetch_by_name(weights, offline=offline)
    try:
        return find_weight_file(weights)[0]
    except CheckpointError as error:
        if os.path.basename(weights) != weights:
            raise
        text = f"{error}; no published weights have this name{nearest_hint(weights, zoo)}"
        raise CheckpointError(f"{text} (ppdet weights list)") from None
