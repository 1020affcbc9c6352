"""A CSV table with a path and one or many labels a row."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.sdk.data.lists import LABEL_SEPARATOR, LIST_FIELDS, read_box
from leansight.sdk.data.samples import Box, Sample

_PATH_COLUMNS: Final = ("path", "file", "filename", "image")
_CORNER_COLUMNS: Final = ("x1", "y1", "x2", "y2")
_OTHER_COLUMNS: Final = ("country", "video", "box", *_CORNER_COLUMNS)


# CSV


@dataclass(frozen=True, kw_only=True)
class Table:
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


def read_table(file: Path) -> Table:
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
    return Table(
        file=file,
        names=names,
        rows=tuple((line, dict(zip(names, row, strict=True))) for line, row in rows),
    )


def csv_file(root: Path) -> Path:
    """Return the table of a folder, or `root` itself; DataError if it is not clear which."""
    if root.is_file():
        return root
    if (root / "labels.csv").is_file():
        return root / "labels.csv"
    match sorted(root.glob("*.csv")):
        case [file]:
            return file
        case files:
            raise DataError(f"{root} holds {len(files)} CSV files: name one of them labels.csv")


def path_column(names: Sequence[str]) -> str | None:
    """Return the name of the column that holds paths, None if there is none."""
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in _PATH_COLUMNS if name in lower), None)


def listed_samples(file: Path) -> list[Sample]:
    """Read one row an image: where it is, its label or labels, and what else is known of it."""
    table = read_table(file)
    path = path_column(table.names)
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


def _labels_reader(table: Table, path: str) -> Callable[[Mapping[str, str]], tuple[str, ...]]:
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
