"""A CSV table with a path and one or many labels a row."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.runtime.image_files import SUFFIXES
from leansight.sdk.data.layouts.split_folders import part_of, split_level
from leansight.sdk.data.lists import LABEL_SEPARATOR, LIST_FIELDS, read_box
from leansight.sdk.data.samples import Box, Part, Sample

_PATH_COLUMNS: Final = (
    *("path", "file", "filename", "image"),
    *("filepath", "file_path", "file_name", "image_path", "image_name"),
)
_CORNER_COLUMNS: Final = ("x1", "y1", "x2", "y2")
_OTHER_COLUMNS: Final = ("country", "video", "split", "box", *_CORNER_COLUMNS)
_SEPARATORS: Final = ",;\t|"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


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
    """Read a file separated by commas, semicolons, as of many spreadsheets, tabs or bars.

    Bytes that are no UTF-8 are kept as Python keeps those of file names (surrogates).

    Raises:
        DataError: the file is UTF-16 or no table; the line is named.

    """
    text = _text(file)
    header = text.partition("\n")[0]
    if header.lower().startswith("sep="):  # Excel's own line before the header
        text = text.partition("\n")[2]
        header = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        names = tuple(name.strip() for name in next(reader, []))
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{file} line {reader.line_num}: {error}") from error
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"{file} line {line} has {len(row)} values for {len(names)} columns, separated by "
                f"{separator!r}: put a value that holds {separator!r} in quotes"
            )
    return Table(
        file=file,
        names=names,
        rows=tuple((line, dict(zip(names, row, strict=True))) for line, row in rows),
    )


def _text(file: Path) -> str:
    data = file.read_bytes()
    if data.startswith(_UTF_16) or b"\0" in data:
        raise DataError(f'{file} is UTF-16 ("Unicode text"), not UTF-8: save it as "CSV UTF-8"')
    return data.decode("utf-8-sig", errors="surrogateescape")


def _require_utf_8(file: Path, line: int, text: str) -> None:
    """Raise DataError for what was written in another encoding."""
    if strange := [c for c in text if "\udc80" <= c <= "\udcff"]:
        raise DataError(
            f"{file} line {line} is not UTF-8 but in another encoding, such as Windows-1252 "
            f'(byte 0x{ord(strange[0]) - 0xDC00:02X}): save it as "CSV UTF-8"'
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
    """Read one row an image: where it is, its label or labels, and what else is known of it.

    A split is read from a column `split`, or from folders train, valid or val, and test.
    """
    table = read_table(file)
    path = path_column(table.names)
    if path is None:
        raise DataError(
            f"{file} has no column path (or {', '.join(_PATH_COLUMNS[1:])}){_hint(table)}"
        )
    if len(set(table.names)) < len(table.names):
        raise DataError(f"{file} has two columns of one name: {', '.join(table.names)}")
    labels = _labels_reader(table, path)
    columns = {name.lower(): name for name in table.names}
    for line, row in table.rows:
        _require_utf_8(file, line, "".join(value for name, value in row.items() if name != path))
    paths = {row[path]: _image_path(file, line, row[path]) for line, row in table.rows}
    level = split_level(file.parent, (p.parts[:-1] for p in paths.values()), below=0)

    def sample(row: Mapping[str, str]) -> Sample:
        if not row[path]:
            raise ValueError("it names no image")
        other = {n: row[columns[n]] if n in columns else "" for n in _OTHER_COLUMNS}
        image = paths[row[path]]
        return Sample(
            path=image,
            labels=labels(row),
            country=other["country"],
            video=other["video"],
            box=_box(other),
            part=_part(other["split"]) or ("" if level is None else part_of(image.parts[level])),
        )

    samples = table.read(sample)
    if not samples:
        raise DataError(f"{file} names no image")
    return samples


def _hint(table: Table) -> str:
    """Say what a first line without a column of paths may be."""
    if any(Path(name).suffix.lower() in SUFFIXES for name in table.names):
        return ": its first line is an image, not the names of columns, such as path,label"
    return f": its columns are {', '.join(table.names)}"


def _image_path(file: Path, line: int, text: str) -> Path:
    """Return the path in a row, Windows' backslashes as slashes; DataError if it is garbled."""
    path = Path(text)
    if not (file.parent / path).is_file():
        _require_utf_8(file, line, text)
        path = Path(text.strip().replace("\\", "/"))
    return path


def _part(text: str) -> Part:
    part = part_of(text)
    if text.strip() and not part:
        raise ValueError(f"split must be train, validation or test, not {text!r}")
    return part


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
