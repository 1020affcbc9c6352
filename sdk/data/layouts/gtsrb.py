"""GTSRB and BelgiumTS: numbered folders with annotations in CSV."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.sdk.data.layouts.csv_table import read_table
from leansight.sdk.data.layouts.videos import POLE_FRAME, VideoNames
from leansight.sdk.data.lists import read_box
from leansight.sdk.data.samples import Sample

_REGION_COLUMNS: Final = ("Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2")


# GTSRB and BelgiumTS


def numbered_folders(root: Path, videos: str) -> list[Sample]:
    """Read `NUMBER/GT-NUMBER.csv`, or a test set's `GT-*.csv` beside its images.

    Stallkamp et al., "Man vs. computer", 2012; Timofte et al., "Multi-view traffic sign
    detection", 2014. The region's lower right corner is exclusive. `videos`: see VideoNames.
    """
    files = sorted([*root.glob("GT-*.csv"), *root.glob("*/GT-*.csv")])
    if not files:
        parts = sorted({str(f.parents[1]) for f in root.glob("*/*/GT-*.csv")})
        hint = f": give {' or '.join(parts)}" if parts else ""
        raise DataError(f"{root} holds no NUMBER/GT-NUMBER.csv{hint}")
    names = VideoNames(pattern=videos, guess=POLE_FRAME)
    return [sample for file in files for sample in _annotated(root, file, names)]


def _annotated(root: Path, file: Path, videos: VideoNames) -> list[Sample]:
    table = read_table(file)
    folder = file.parent.relative_to(root)
    missing = {"Filename", "ClassId", *_REGION_COLUMNS} - set(table.names)
    if missing:
        raise DataError(f"{file} has no column {', '.join(sorted(missing))}")

    def sample(row: Mapping[str, str]) -> Sample:
        path = folder / row["Filename"]
        return Sample(
            path=path,
            labels=(folder.name or f"{int(row['ClassId']):05}",),
            video=videos.of(path),
            box=read_box(" ".join(row[name] for name in _REGION_COLUMNS)),
        )

    return table.read(sample)
