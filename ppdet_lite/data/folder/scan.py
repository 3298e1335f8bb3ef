"""The files of a folder, sorted by what they may be."""

from __future__ import annotations

import os
from collections import Counter
from functools import cached_property
from pathlib import Path, PurePosixPath

from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.image_files import is_image


def stem(path: str) -> str:
    """`a/b.jpg` -> `b`."""
    return PurePosixPath(path).stem


def parent(path: str) -> str:
    """`a/b.jpg` -> `a`; an empty string for a file at the top."""
    return path.rpartition("/")[0]


class FolderScan:
    """All files below a folder, hidden ones left out; links to folders are followed once.

    Attributes:
        root: the folder, absolute.
        images: paths of the images relative to `root`, with `/`, sorted.
        others: ending in lower case (`.json`) -> paths of the other files, sorted.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            reason = "a file, not a folder" if folder.exists() else "no such folder"
            raise DataError(f"{folder}: {reason}")
        self.root = Path(os.path.abspath(folder))
        self.images: list[str] = []
        self.others: dict[str, list[str]] = {}
        seen = {os.path.realpath(self.root)}
        for here, folders, files in os.walk(self.root, followlinks=True):
            inside = os.path.relpath(here, self.root).replace(os.sep, "/")
            prefix = "" if inside == "." else f"{inside}/"
            for name in files:
                if name.startswith("."):
                    continue
                if is_image(name):
                    self.images.append(prefix + name)
                else:
                    ending = os.path.splitext(name)[1].lower()
                    self.others.setdefault(ending, []).append(prefix + name)
            real = {name: os.path.realpath(os.path.join(here, name)) for name in folders}
            folders[:] = [n for n in sorted(folders) if n[0] != "." and real[n] not in seen]
            seen.update(real[name] for name in folders)
        self.images.sort()
        for paths in self.others.values():
            paths.sort()

    def files(self, *endings: str) -> list[str]:
        """The other files with these endings."""
        return [path for ending in endings for path in self.others.get(ending, [])]

    def path(self, relative: str) -> Path:
        """The absolute path."""
        return self.root / relative

    @cached_property
    def image_set(self) -> frozenset[str]:
        """`images`, to look one up."""
        return frozenset(self.images)

    @cached_property
    def image_folders(self) -> list[str]:
        """Folders with images in them or below them, the root ("") among them."""
        folders = {""}
        for folder in {parent(path) for path in self.images}:
            parts = folder.split("/")
            folders.update("/".join(parts[:end]) for end in range(1, len(parts) + 1))
        return sorted(folders)

    @cached_property
    def image_stems(self) -> dict[str, list[str]]:
        """Name of an image without its ending -> the images of that name."""
        found: dict[str, list[str]] = {}
        for path in self.images:
            found.setdefault(stem(path), []).append(path)
        return found

    def describe(self) -> str:
        """One line about number and endings of the files."""
        counts = Counter({ending or "no ending": len(p) for ending, p in self.others.items()})
        texts = [f"{count} {ending}" for ending, count in counts.most_common(6)]
        return ", ".join([f"{len(self.images)} images", *texts])
