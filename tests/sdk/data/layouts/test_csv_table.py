from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.data.dataset import describe
from leansight.sdk.data.layouts.detect import find_data, find_samples

ROWS = "path,label\nüber.jpg,Dämmerung\nb.jpg,Regen\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("über.jpg", "b.jpg", "sub/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_separators_and_marks_of_order_are_read(
    folder: Path, separator: str, encoding: str, newline: str
) -> None:
    text = ROWS.replace(",", separator).replace("\n", newline)
    (folder / "labels.csv").write_bytes(text.encode(encoding))
    assert [s.label for s in find_samples(folder)] == ["Dämmerung", "Regen"]


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("cp1252", r"labels\.csv line 2 is not UTF-8 .* Windows-1252 \(byte 0xE4\): save it as"),
        ("utf-16", r'labels\.csv is UTF-16 \("Unicode text"\), not UTF-8: save it as "CSV UTF-8"'),
        ("utf-16-le", r"labels\.csv is UTF-16"),
    ],
)
def test_another_encoding_is_named(folder: Path, encoding: str, message: str) -> None:
    (folder / "labels.csv").write_bytes(ROWS.encode(encoding))
    with pytest.raises(DataError, match=message):
        find_samples(folder)


def test_another_encoding_of_paths_alone_is_named(folder: Path) -> None:
    (folder / "labels.csv").write_bytes("path,label\nüber.jpg,a\nb.jpg,b\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"is not UTF-8 .* \(byte 0xFC\)"):
        find_samples(folder)


def test_excels_line_about_the_separator_is_skipped(folder: Path) -> None:
    (folder / "labels.csv").write_text("sep=;\n" + ROWS.replace(",", ";"), encoding="utf-8")
    assert len(find_samples(folder)) == 2


def test_backslashes_are_slashes(folder: Path) -> None:
    (folder / "labels.csv").write_text("file,label\nsub\\c.jpg,a\nb.jpg,b\n")
    assert [s.path.as_posix() for s in find_samples(folder)] == ["sub/c.jpg", "b.jpg"]


def test_a_missing_header_is_named(folder: Path) -> None:
    (folder / "labels.csv").write_text("b.jpg,a\nsub/c.jpg,b\n")
    with pytest.raises(DataError, match=r"its first line is an image, not the names of columns"):
        find_samples(folder)


def test_a_separator_inside_of_a_value_is_named(folder: Path) -> None:
    (folder / "labels.csv").write_text("path;label\nb.jpg;a;b\n")
    with pytest.raises(DataError, match=r"line 2 has 3 values for 2 columns, separated by ';'"):
        find_samples(folder)


def test_rows_that_are_there_twice_count_once_and_contradictions_are_refused(folder: Path) -> None:
    (folder / "labels.csv").write_text("path,label\nb.jpg,a\nb.jpg,a\nsub/c.jpg,b\n")
    found = find_data(folder)
    assert [s.path.name for s in found.samples] == ["b.jpg", "c.jpg"]
    assert "left out: rows of a table that are there twice: 1 (b.jpg)" in describe(found)
    assert "left out: images that the table does not name: 1 (über.jpg)" in describe(found)
    (folder / "labels.csv").write_text("path,label\nb.jpg,a\nb.jpg,b\n")
    with pytest.raises(DataError, match=r"two classes: b\.jpg \(a\) and b\.jpg \(b\)"):
        find_samples(folder)


def test_a_table_that_cannot_be_read_beside_class_folders_is_no_list(folder: Path) -> None:
    (folder / "b.jpg").unlink()
    (folder / "über.jpg").unlink()
    (folder / "notes.csv").write_bytes(ROWS.encode("utf-16"))
    assert [s.label for s in find_samples(folder)] == ["sub"]
