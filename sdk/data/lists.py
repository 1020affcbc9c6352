"""Lists of files as CSV: written by a run, read again by another."""

import csv
import re
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.runtime.system.regular_files import open_regular
from leansight.runtime.system.whole_files import whole_file
from leansight.sdk.data.samples import Box, Sample

# The header of a written list, which is a data set of the layout "csv" as well.
LIST_FIELDS: Final = ("path", "labels", "country", "video", "box")
LABEL_SEPARATOR: Final = "|"

_BOX: Final = re.compile(r"[\s,;]+".join([r"(\d+)"] * 4), re.ASCII)


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Write a list as CSV (RFC 4180): the split, to read and to repeat.

    Labels are joined with "|", a box is four numbers. File names may hold any byte.

    Raises:
        DataError: a label is empty or holds "|".

    """
    # surrogateescape: names of files are bytes, and not all of them are UTF-8
    with (
        whole_file(path) as part,
        part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(LIST_FIELDS)
        for sample in samples:
            for label in sample.labels:
                if not label or LABEL_SEPARATOR in label:
                    raise DataError(
                        f"{sample.path}: {label!r} is no name for a label: "
                        f'give one without "{LABEL_SEPARATOR}"'
                    )
            labels = LABEL_SEPARATOR.join(sample.labels)
            box = " ".join(map(str, sample.box or ()))
            rows.writerow([sample.path.as_posix(), labels, sample.country, sample.video, box])


def read_samples(path: Path) -> list[Sample]:
    """Read what `write_samples` wrote; DataError if it is missing or damaged."""
    try:
        with (
            open_regular(path) as opened,
            TextIOWrapper(opened, "utf-8", "surrogateescape", newline="") as file,
        ):
            return _samples(list(csv.reader(file, strict=True)))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} is no list of images: {error}") from error


def _samples(rows: Sequence[Sequence[str]]) -> list[Sample]:
    if not rows or tuple(rows[0]) != LIST_FIELDS:
        raise ValueError(f"it does not begin with {','.join(LIST_FIELDS)}")
    return [_sample(row) for row in rows[1:]]


def _sample(row: Sequence[str]) -> Sample:
    if len(row) != len(LIST_FIELDS):
        raise ValueError(f"a row has {len(row)} values: {row}")
    image, labels, country, video, box = row
    return Sample(
        path=Path(image),
        labels=tuple(labels.split(LABEL_SEPARATOR)) if labels else (),
        country=country,
        video=video,
        box=read_box(box),
    )


def read_box(text: str) -> Box | None:
    """Return the four numbers of a box, None for an empty text; ValueError for anything else."""
    if not text.strip():
        return None
    corners = _BOX.fullmatch(text.strip())
    if corners is None:
        raise ValueError(f"a box is four whole numbers x1 y1 x2 y2, not {text!r}")
    x1, y1, x2, y2 = map(int, corners.groups())
    return x1, y1, x2, y2
