"""Which images a data set has and what they show, from the layouts that data sets come in."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from leansight.runtime.errors import DataError
from leansight.runtime.images import list_images
from leansight.sdk.data.samples import (
    LABEL_SEPARATOR,
    LIST_FIELDS,
    Box,
    Sample,
    first_five,
    images_folder,
    read_box,
)
from leansight.sdk.recipes.schema import DataRecipe, Layout

# S1's file names: `01165_00001` is frame 1 of video 01165. Both parts are digits, so that
# IMG_0001, IMG_0002 … are not taken for frames of one video. BelgiumTS may name the camera
# before the pole; one sign seen by two cameras is one sign.
_VIDEO_FRAME: Final = re.compile(r"(?P<video>\d+)_\d+")
_POLE_FRAME: Final = re.compile(r"(?:\d+\.)?(?P<video>\d+)_\d+")

_REGION_COLUMNS: Final = ("Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2")
_PATH_COLUMNS: Final = ("path", "file", "filename", "image")
_CORNER_COLUMNS: Final = ("x1", "y1", "x2", "y2")
_OTHER_COLUMNS: Final = ("country", "video", "box", *_CORNER_COLUMNS)

_AS_IT_COMES: Final = DataRecipe()


def find_samples(root: Path, recipe: DataRecipe = _AS_IT_COMES) -> list[Sample]:
    """Return the samples of the data set `root`, a folder or a CSV file.

    Layouts: "folders" (CLASS/IMAGE or COUNTRY/CLASS/IMAGE), "gtsrb" and "belgiumts" (numbered
    folders with `GT-*.csv`), "bdd100k" (weather, from `labels/*_{train,val}.json`), "csv" (the
    file itself, or `labels.csv` or the only CSV file in the folder), or "auto". Boxes are given
    where the recipe wants regions.

    A CSV file has a column `path` (or file, filename, image), relative to the file's folder, and
    either `label`, or `labels` parted by "|" or ";", or a column of 0 and 1 for each label. Also
    read are `country`, `video`, `box` (x1 y1 x2 y2) or the columns x1, y1, x2, y2.

    Raises:
        DataError: nothing is there, it is not of the layout, or its labels name absent images.

    """
    if not root.exists():
        raise DataError(f"{root} is not a folder of labelled images: it does not exist")
    layout = _layout(root) if recipe.layout == "auto" else recipe.layout
    if layout != "csv" and not root.is_dir():
        raise DataError(f'{root} is not a folder, which data.layout = "{layout}" needs')
    match layout:
        case "gtsrb" | "belgiumts":
            samples = _numbered_folders(root)
        case "bdd100k":
            samples = _driving_weather(root)
        case "csv":
            samples = _listed(_csv_file(root))
        case "folders":
            samples = _class_folders(root)
    if layout != "folders":
        _require_files(root, samples)
    if recipe.regions and not any(s.box for s in samples):
        raise DataError(f"the labels of {root} give no regions: add --set data.regions=false")
    return samples if recipe.regions else [replace(s, box=None) if s.box else s for s in samples]


def find_labels(samples: Iterable[Sample]) -> tuple[str, ...]:
    """Return the class names in alphabetical order; DataError if there are fewer than two."""
    labels = tuple(sorted({label for s in samples for label in s.labels}))
    if len(labels) < 2:  # noqa: PLR2004 -- a classifier tells at least two classes apart
        found = f"one class only ({labels[0]})" if labels else "no class"
        raise DataError(f"found {found}: put the images of each class in their own folder")
    return labels


def _layout(root: Path) -> Layout:
    if root.is_file():
        return "csv"
    if (root / "images" / "100k").is_dir() and (root / "labels").is_dir():
        return "bdd100k"
    if any(next(root.glob(f"{at}GT-*.csv"), None) for at in ("", "*/", "*/*/")):
        return "gtsrb"
    if (root / "labels.csv").is_file():
        return "csv"
    lists = list(root.glob("*.csv"))
    if len(lists) == 1 and _path_column(_table(lists[0]).names):
        return "csv"
    return "folders"


def _require_files(root: Path, samples: Sequence[Sample]) -> None:
    folder = images_folder(root)
    absent = [str(s.path) for s in samples if not (folder / s.path).is_file()]
    if absent:
        raise DataError(
            f"the labels of {root} name {len(absent)} images (of {len(samples)}) that do not "
            f"exist: {first_five(absent)}"
        )


def _class_folders(root: Path) -> list[Sample]:
    samples = []
    for path in (p.relative_to(root) for p in list_images([root])):
        match path.parts:
            case (label, _):
                country = ""
            case (country, label, _):
                pass
            case _:
                raise DataError(
                    f"{root / path} is neither {root}/CLASS/IMAGE nor {root}/COUNTRY/CLASS/IMAGE"
                )
        video = _video(path, _VIDEO_FRAME)
        samples.append(Sample(path=path, labels=(label,), country=country, video=video))
    if len({bool(s.country) for s in samples}) > 1:
        raise DataError(f"{root} mixes CLASS/IMAGE and COUNTRY/CLASS/IMAGE: keep to one of them")
    return samples


def _video(path: Path, pattern: re.Pattern[str]) -> str:
    """Name the video, which is unique within a folder only."""
    frame = pattern.fullmatch(path.stem)
    return (path.parent / frame["video"]).as_posix() if frame else ""


# GTSRB and BelgiumTS


def _numbered_folders(root: Path) -> list[Sample]:
    """Read `NUMBER/GT-NUMBER.csv`, or a test set's `GT-*.csv` beside its images.

    Stallkamp et al., "Man vs. computer", 2012; Timofte et al., "Multi-view traffic sign
    detection", 2014. The region's lower right corner is exclusive.
    """
    files = sorted([*root.glob("GT-*.csv"), *root.glob("*/GT-*.csv")])
    if not files:
        parts = sorted({str(f.parents[1]) for f in root.glob("*/*/GT-*.csv")})
        hint = f": give {' or '.join(parts)}" if parts else ""
        raise DataError(f"{root} holds no NUMBER/GT-NUMBER.csv{hint}")
    return [sample for file in files for sample in _annotated(root, file)]


def _annotated(root: Path, file: Path) -> list[Sample]:
    table = _table(file)
    folder = file.parent.relative_to(root)
    missing = {"Filename", "ClassId", *_REGION_COLUMNS} - set(table.names)
    if missing:
        raise DataError(f"{file} has no column {', '.join(sorted(missing))}")

    def sample(row: Mapping[str, str]) -> Sample:
        path = folder / row["Filename"]
        return Sample(
            path=path,
            labels=(folder.name or f"{int(row['ClassId']):05}",),
            video=_video(path, _POLE_FRAME),
            box=read_box(" ".join(row[name] for name in _REGION_COLUMNS)),
        )

    return table.read(sample)


# BDD100K


def _driving_weather(root: Path) -> list[Sample]:
    """Read each image's `attributes.weather`; the "countries" are train and val (S3)."""
    samples = []
    for part in ("train", "val"):
        files = sorted((root / "labels").glob(f"*_{part}.json"))
        if len(files) > 1:
            raise DataError(f"{files[0]} and {files[1]} both label the same images: keep one")
        for file in files:
            folder = Path("images", "100k", part)
            for name, weather in _weather(file):
                samples.append(Sample(path=folder / name, labels=(weather,), country=part))
    if not samples:
        raise DataError(f"{root}/labels holds no image in *_train.json or *_val.json")
    return samples


def _weather(file: Path) -> list[tuple[str, str]]:
    def kept(values: dict[str, Any]) -> dict[str, Any]:
        # Boxes are forgotten while they are read: BDD100K's own file has a gigabyte of them.
        return {key: values[key] for key in ("name", "attributes", "weather") if key in values}

    try:
        entries = json.loads(file.read_bytes(), object_hook=kept)
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    found = []
    for number, entry in enumerate(entries if isinstance(entries, list) else [None], 1):
        match entry:
            case {"name": str(name), "attributes": {"weather": str(weather)}}:
                found.append((name, weather))
            case _:
                raise DataError(f"{file}: entry {number} has no name with an attributes.weather")
    return found


# CSV


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A CSV file: the names of its columns and, with their lines, its rows."""

    file: Path
    names: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]

    def read(self, sample: Callable[[Mapping[str, str]], Sample]) -> list[Sample]:
        """Make a sample of every row; DataError names the line of one that does not fit."""
        samples = []
        for line, row in self.rows:
            try:
                samples.append(sample(row))
            except ValueError as error:
                raise DataError(f"{self.file} line {line}: {error}") from error
        return samples


def _table(file: Path) -> _Table:
    """Read a file separated by commas or, as GTSRB's and many spreadsheets', by semicolons."""
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
        header = lines.readline()
        lines.seek(0)
        separator = ";" if header.count(";") > header.count(",") else ","
        reader = csv.reader(lines, delimiter=separator, strict=True)
        try:
            names = tuple(name.strip() for name in next(reader, []))
            rows = [(reader.line_num, row) for row in reader if row]
        except csv.Error as error:
            raise DataError(f"{file} line {reader.line_num}: {error}") from error
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(f"{file} line {line} has {len(row)} values for {len(names)} columns")
    return _Table(
        file=file,
        names=names,
        rows=tuple((line, dict(zip(names, row, strict=True))) for line, row in rows),
    )


def _csv_file(root: Path) -> Path:
    if root.is_file():
        return root
    if (root / "labels.csv").is_file():
        return root / "labels.csv"
    match sorted(root.glob("*.csv")):
        case [file]:
            return file
        case files:
            raise DataError(f"{root} holds {len(files)} CSV files: name one of them labels.csv")


def _path_column(names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in _PATH_COLUMNS if name in lower), None)


def _listed(file: Path) -> list[Sample]:
    """Read one row an image: where it is, its label or labels, and what else is known of it."""
    table = _table(file)
    path = _path_column(table.names)
    if path is None:
        raise DataError(f"{file} has no column path (or {', '.join(_PATH_COLUMNS[1:])})")
    if len(set(table.names)) < len(table.names):
        raise DataError(f"{file} has two columns of one name: {', '.join(table.names)}")
    labels = _labels_reader(table, path)
    columns = {name.lower(): name for name in table.names}

    def sample(row: Mapping[str, str]) -> Sample:
        if not row[path]:
            raise ValueError("it names no image")
        other = {n: row[columns[n]] if n in columns else "" for n in _OTHER_COLUMNS}
        return Sample(
            path=Path(row[path]),
            labels=labels(row),
            country=other["country"],
            video=other["video"],
            box=_box(other),
        )

    samples = table.read(sample)
    if not samples:
        raise DataError(f"{file} names no image")
    return samples


def _box(row: Mapping[str, str]) -> Box | None:
    return read_box(row["box"]) or read_box(" ".join(row[name] for name in _CORNER_COLUMNS))


def _labels_reader(table: _Table, path: str) -> Callable[[Mapping[str, str]], tuple[str, ...]]:
    """Return how a row tells its labels: by the column label or labels, or by one for each."""
    columns = {name.lower(): name for name in table.names}
    if "label" in columns and "labels" in columns:
        raise DataError(f"{table.file} has the columns label and labels: keep one of them")
    if "label" in columns:
        return lambda row: _one_label(row[columns["label"]].strip())
    if "labels" in columns:
        ours = table.names == LIST_FIELDS
        return lambda row: _several_labels(row[columns["labels"]], ours=ours)
    marks = [n for n in table.names if n != path and n.lower() not in _OTHER_COLUMNS]
    if not marks:
        raise DataError(f"{table.file} has no column label, labels, or one of 0 and 1 for each")
    return lambda row: tuple(name for name in marks if _is_marked(name, row[name].strip()))


def _one_label(text: str) -> tuple[str, ...]:
    if not text:
        raise ValueError("it has no label (images without one need a column labels)")
    return (text,)


def _several_labels(text: str, *, ours: bool) -> tuple[str, ...]:
    """Part labels at "|" or ";"; in one of our own lists, names may hold semicolons and spaces."""
    if ours:
        labels = text.split(LABEL_SEPARATOR)
    else:
        labels = [label.strip() for label in re.split(r"[|;]", text)]
    return tuple(dict.fromkeys(filter(None, labels)))


def _is_marked(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"{name} must be 0 or 1, not {text!r}, where no column is label or labels")
    return text == "1"
