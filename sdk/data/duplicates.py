"""Photos that are there twice: files of the same bytes, found without reading every file."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from leansight.runtime.errors import DataError
from leansight.sdk.data.samples import Sample
from leansight.sdk.system.text import first_five

_SAMPLE_BYTES = 4096


def find_copies(folder: Path, samples: Sequence[Sample]) -> list[list[Sample]]:
    """Return groups of samples whose files, and regions of them, are the same.

    Only files of the same size are compared: first by their last 4 KiB, then whole.
    """
    groups = [list(samples)]
    for key in (_size, _tail, _digest):
        groups = [part for group in groups for part in _parted(folder, group, key)]
    return groups


def require_one_class(copies: Iterable[Sequence[Sample]]) -> None:
    """Raise DataError if copies of a photo are of different classes; both are named."""
    clashes = []
    for group in copies:
        first = group[0]
        other = next((s for s in group if set(s.labels) != set(first.labels)), None)
        if other is not None:
            clashes.append(
                f"{first.path} ({', '.join(first.labels)}) and {other.path} "
                f"({', '.join(other.labels)})"
            )
    if clashes:
        raise DataError(
            f"the same photo is in two classes: {first_five(clashes)}: keep one of each "
            "(or list an image with several labels once, in a CSV file with the column labels)"
        )


Key = Callable[[Path], object]


def _parted(folder: Path, samples: Sequence[Sample], key: Key) -> list[list[Sample]]:
    """Return the groups of two and more samples that have a key in common."""
    keys: dict[Path, object] = {}
    groups: dict[object, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.path not in keys:
            keys[sample.path] = key(folder / sample.path)
        if keys[sample.path] is not None:
            groups[keys[sample.path], sample.box].append(sample)
    return [group for group in groups.values() if len(group) > 1]


def _size(path: Path) -> int | None:
    """Return a file's size in bytes; None for an empty one, which is no image."""
    return path.stat().st_size or None


def _tail(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _SAMPLE_BYTES))
            return file.read()
    except OSError:
        return None  # named when its pixels are read


def _digest(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return None  # as above
