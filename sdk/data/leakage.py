"""Images that are the same, and splits that they give away."""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.errors import DataError
from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image
from leansight.sdk.data.images import (
    images_folder,
    require_pictures,
    require_readable,
    visit_images,
)
from leansight.sdk.data.samples import Sample, Split
from leansight.sdk.recipes.schema import SplitBy
from leansight.sdk.system.progress import track

# Two images are twins if their gray thumbnails, with mean 0 and standard deviation 1, differ by
# less than this (root mean square). Measured: a JPEG of quality 50, half the size or 3 levels
# more or less moves a photo of 128 pixels by at most 0.11, mostly by 0.02; of 89 million pairs
# from different videos of German traffic signs the nearest two are 0.17 apart.
TWIN_DISTANCE: Final = 0.15
_SIDE: Final = 32  # of a thumbnail, in pixels
_BLOCK: Final = 4  # of the means that are compared first, in thumbnail pixels
_FLAT: Final = 1.0  # levels of standard deviation: below, a thumbnail is one colour with noise
_ROWS: Final = 256  # images compared with all others at a time: 4 bytes × rows × images of memory
_NAMED: Final = 3  # pairs of files in a message


def find_twins(root: Path, samples: Sequence[Sample]) -> list[tuple[int, ...]]:
    """Return groups of positions of byte-identical or near-identical images.

    Re-encoded, resized, stretched and slightly brighter copies are found; mirrored, turned or cut
    ones are not. Twins of twins are twins. Progress bars are shown.

    Raises:
        DataError: images that cannot be read, or most of them are one flat colour.

    """
    digests, thumbnails = _fingerprints(root, samples)
    group = np.arange(len(samples))
    first: dict[str, int] = {}
    for index, digest in enumerate(digests):
        group[index] = group[first.setdefault(digest, index)]
    _join_near(group, thumbnails)
    members: dict[int, list[int]] = defaultdict(list)
    for index, name in enumerate(group.tolist()):
        members[name].append(index)
    return sorted(tuple(m) for m in members.values() if len(m) > 1)


def check_leaks(root: Path, split: Split, *, by: SplitBy = "video") -> None:
    """Raise DataError if a video or near-identical images are on two sides; files are named.

    Of a split drawn `by` single images, names of videos are not held against it; frames that look
    the same are.
    """
    check_videos(split, by=by)
    samples = [*split.train, *split.validation, *split.test]
    twins = find_twins(root, samples)
    check_twins(split, [[samples[i] for i in group] for group in twins])


def check_videos(split: Split, *, by: SplitBy = "video") -> None:
    """Raise DataError if the same video, or the same file, is on two sides of the split."""
    groups: dict[Hashable, list[Sample]] = defaultdict(list)
    for sample in (*split.train, *split.validation, *split.test):
        groups[sample.video if sample.video and by == "video" else sample.path].append(sample)
    hint = 'keep all frames of a video on one side, as split.by = "video" does'
    _require_apart(split, groups.values(), what="the same video", hint=hint)


def check_twins(split: Split, twins: Iterable[Sequence[Sample]]) -> None:
    """Raise DataError if images of one of the groups `twins` are on two sides of the split."""
    hint = "keep them on one side, or leave one of them out"
    _require_apart(split, twins, what="the same or nearly the same image", hint=hint)


def find_unreadable(root: Path, samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples whose images cannot be read, with a progress bar."""
    what = "looking for unreadable images"
    problems = visit_images(root, samples, lambda _index, _image: None, what=what)
    return [samples[index] for index in problems]


def _require_apart(
    split: Split, groups: Iterable[Sequence[Sample]], *, what: str, hint: str
) -> None:
    """Raise DataError with the first three pairs of files of a group on two sides."""
    sides: dict[Sample, set[str]] = defaultdict(set)
    for name, part in (
        ("training", split.train),
        ("validation", split.validation),
        ("test", split.test),
    ):
        for sample in part:
            sides[sample].add(name)
    leaks = []
    for group in groups:
        placed = sorted({(str(s.path), side) for s in group for side in sides.get(s, ())})
        # Neighbours by name, because twins of twins may look less alike.
        for (one, here), (other, there) in pairwise(placed):
            if here != there:
                leaks.append(f"{one} ({here}) and {other} ({there})")
                break
    if leaks:
        more = f" (and {len(leaks) - _NAMED} more)" if len(leaks) > _NAMED else ""
        raise DataError(
            f"{what} is on two sides of the split: {'; '.join(leaks[:_NAMED])}{more}: {hint}"
        )


def _fingerprints(root: Path, samples: Sequence[Sample]) -> tuple[list[str], NDArray[np.float32]]:
    """Return sha256 digests of the files and normalised thumbnails, (N, 32 × 32); NaN if flat."""
    cv2 = opencv()
    folder = images_folder(root)
    digests = [""] * len(samples)
    thumbnails = np.empty((len(samples), _SIDE * _SIDE), np.float32)

    def measure(index: int, image: Image) -> None:
        digests[index] = hashlib.sha256((folder / samples[index].path).read_bytes()).hexdigest()
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
        small = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).ravel()
        deviation = small.std()
        thumbnails[index] = (small - small.mean()) / deviation if deviation > _FLAT else np.nan

    problems = visit_images(root, samples, measure, what="reading images to compare them")
    require_readable(problems, len(samples))
    require_pictures(samples, np.isnan(thumbnails[:, 0]))
    return digests, thumbnails


def _join_near(group: NDArray[np.int64], thumbnails: NDArray[np.float32]) -> None:
    """Give all near-identical images one number in `group`, (N,).

    The means of blocks are never further apart than the thumbnails, so that comparing all with
    all by means alone loses no twin and leaves few thumbnails to compare. Both are products of
    matrices: where very many images are alike, it takes seconds longer, not hours.
    """
    known = np.flatnonzero(np.isfinite(thumbnails[:, 0]))
    means = _block_means(thumbnails[known])
    squares = (means**2).sum(axis=1)
    limit = (TWIN_DISTANCE * _SIDE / _BLOCK) ** 2 * (1 + 1e-4)  # rounding must not lose one
    starts = range(0, len(known), _ROWS)
    for start in track(starts, "comparing images", len(starts)):
        rows = slice(start, start + _ROWS)
        apart = squares[rows, None] + squares[None, start:] - 2 * means[rows] @ means[start:].T
        near = np.triu(apart <= limit, 1)
        some = np.ix_(near.any(axis=1).nonzero()[0], near.any(axis=0).nonzero()[0])
        ones, others = (known[start + index.ravel()] for index in some)
        # With a mean of 0 and a deviation of 1: |a - b|² = 2 - 2ab, in means over the pixels.
        alike = thumbnails[ones] @ thumbnails[others].T / _SIDE**2
        near[some] &= 2 - 2 * alike < TWIN_DISTANCE**2
        for row in near.any(axis=1).nonzero()[0].tolist():
            name = group[known[start + row]]
            for other in np.unique(group[known[start + near[row].nonzero()[0]]]).tolist():
                group[group == other] = name


def _block_means(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, 8 × 8) means of blocks of 4 × 4 pixels."""
    blocks = _SIDE // _BLOCK
    parted = thumbnails.reshape(-1, blocks, _BLOCK, blocks, _BLOCK)
    means: NDArray[np.float32] = parted.mean(axis=(2, 4)).reshape(-1, blocks * blocks)
    return means
