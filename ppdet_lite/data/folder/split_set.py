"""A part of another data set, drawn by a seed."""

from dataclasses import dataclass

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import register
from ppdet_lite.data.folder.stratified import class_counts, stratified_split
from ppdet_lite.data.sources.dataset import Dataset, Part


@register
@dataclass(eq=False)
class SplitDataSet(Part):
    """One split of a data set that has none of its own.

    The images are divided by `stratified_split`: by image, so that each split has its share of
    every class, and always in the same way for the same seed and images.

    Args:
        source: the data set.
        part: name of the split, one of `shares`.
        shares: split -> share of the images; they sum up to 1.
        seed: of the division.
    """

    __inject__ = ("source",)
    __checked__ = True

    source: Dataset
    part: str
    shares: dict[str, float]
    seed: int = 0

    def __post_init__(self) -> None:
        if self.part not in self.shares:
            raise ConfigError(f"part: found {self.part}, allowed: {', '.join(self.shares)}")
        total = sum(self.shares.values())
        if min(self.shares.values()) < 0 or abs(total - 1) > 1e-6:
            raise ConfigError(f"shares: found a sum of {total:g}, allowed: shares that sum up to 1")
        parts = stratified_split(class_counts(self.source), self.shares, self.seed)
        chosen = parts[self.part]
        super().__init__(self.source, chosen.tolist())
        text = f"{self.part}: {len(chosen)} of {len(self.source)} images, drawn with seed"
        lines = f"{text} {self.seed}, each class by its share"
        self.report_lines = [*self.source.report_lines, lines]
