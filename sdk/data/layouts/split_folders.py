"""Splits that a data set gives itself: folders called train, valid or val, and test."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.sdk.data.samples import Part, Sample

PARTS: Final[Mapping[str, Part]] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def part_of(name: str) -> Part:
    """Return which split a folder or a word in a table means; "" if it is none."""
    return PARTS.get(name.strip().casefold(), "")


def split_level(root: Path, folders: Iterable[Sequence[str]], *, below: int) -> int | None:
    """Return at which level of the folders the splits are: 0, 1, or None if there are none.

    `folders`: those that lead from `root` to each image, from the outside; `below`: how many
    folders must be inside of a split.

    Raises:
        DataError: some images are in a folder test/ at the top, others in none of the splits.

    """
    paths = set(map(tuple, folders))
    for level in (0, 1):
        names = {path[level] for path in paths if len(path) > level}
        deep = all(len(path) > max(level, below) for path in paths)
        if names and deep and all(map(part_of, names)):
            return level
    tops = {path[0] for path in paths if len(path) > below}
    others = sorted(f"{name}/" for name in {path[0] for path in paths if path} if not part_of(name))
    tests = sorted(f"{name}/" for name in tops if part_of(name) == "test")
    if tests:
        raise DataError(
            f"{root} has the split {tests[0]}, and beside it {', '.join(others)}, which is no "
            "split: move it into train/, or out of the folder"
        )
    return None


def refuse_splits_as_classes(root: Path, samples: Iterable[Sample]) -> None:
    """Raise DataError for classes that are called as splits are: they would be learnt from."""
    labels = sorted({label for s in samples for label in s.labels if part_of(label)})
    parts = {part_of(label) for label in labels}
    if "test" in parts or len(parts) > 1:
        raise DataError(
            f"{root}: {', '.join(labels)} would be classes, but are called as splits are: put a "
            "folder for each class into them (or rename the classes)"
        )
