"""What all builders of TensorRT engines share: the input shapes and the cache."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any, Iterator

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.contract import InferConfig, ModelFolder
from ppdet_lite.runtime.input_size import STRIDE
from ppdet_lite.runtime.options import TensorRTOptions
from ppdet_lite.utils.files import lock_file, sha256_of

CACHE_FOLDER = "trt_cache"
ABOUT_FILE = "about.json"
LOCK_FILE = "lock"

Shapes = dict[str, list[tuple[int, ...]]]
"""Input -> its smallest, usual and largest shape."""


def batch_of_engine(config: InferConfig, options: TensorRTOptions) -> int:
    """Images at once: the export's, or those of the options; the largest number for open sizes."""
    return config.batch or options.batch_size or 1


def input_shapes(config: InferConfig, options: TensorRTOptions) -> Shapes:
    """The shapes of each input that an engine is built for; all equal for a fixed input size.

    Raises:
        UserError: sides that no network takes.
    """
    batch = batch_of_engine(config, options)
    if config.input_hw is not None:
        batches, sizes = [batch] * 3, [config.input_hw] * 3
    else:
        sides = (options.min_side, options.opt_side, options.max_side)
        if list(sides) != sorted(sides) or any(side % STRIDE for side in sides):
            raise UserError(
                f"`min_side`, `opt_side`, `max_side`: found {sides}, allowed: multiples of "
                f"{STRIDE} in rising order"
            )
        batches, sizes = [config.batch or 1, batch, batch], [(side, side) for side in sides]
    pairs: list[tuple[int, ...]] = [(count, 2) for count in batches]
    images: list[tuple[int, ...]] = [(count, 3, *size) for count, size in zip(batches, sizes)]
    return {"image": images, "im_shape": pairs, "scale_factor": pairs}


class EngineCache:
    """A folder of built engines, `<parent>/<title>-<hash>`. The hash is that of everything that the
    engines depend on, which `about.json` in it holds: the model's files and what the builder adds.

    Args:
        parent: `TensorRTOptions.cache_dir`; None is `trt_cache` in the model's folder.
        names_itself: True if the engines depend on the folder's place.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(
        self,
        files: ModelFolder,
        options: TensorRTOptions,
        title: str,
        about: dict[str, Any],
        names_itself: bool = False,
    ):
        parent = Path(options.cache_dir or files.path / CACHE_FOLDER).absolute()
        models = [sha256_of(path) for path in (files.graph, files.params) if path]
        about = {"model": models, **about, **({"folder": str(parent)} if names_itself else {})}
        text = json.dumps(about, sort_keys=True, separators=(",", ":"))  # as deploy/cpp writes it
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder = parent / f"{title}-{digest}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / ABOUT_FILE).write_text(json.dumps(about, indent=1) + "\n")
        except OSError as error:
            raise UserError(
                f"`cache_dir` {parent}: cannot be written ({error.strerror}); give another folder"
            ) from error

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Context that one process at a time is in; the others wait for what it builds."""
        with open(self.folder / LOCK_FILE, "a") as file:  # closing it ends the lock
            if not lock_file(file, wait=False):
                print(
                    f"TensorRT: waiting for another run that is building engines in {self.folder}"
                )
                lock_file(file)
            yield
