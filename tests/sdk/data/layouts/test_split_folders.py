from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.data.layouts.detect import find_samples


def photos(root: Path, *names: str) -> Path:
    """Write different files, each of which is named as an image."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("train", "valid", "test"), ("Train", "VAL", "Testing"), ("training", "validation", "test")],
)
def test_folders_of_splits_are_honoured(
    tmp_path: Path, train: str, validation: str, test: str
) -> None:
    photos(tmp_path, f"{train}/cat/1.jpg", f"{validation}/cat/2.jpg", f"{test}/dog/3.jpg")
    found = {s.part: (s.path.as_posix(), s.label, s.country) for s in find_samples(tmp_path)}
    assert found == {
        "train": (f"{train}/cat/1.jpg", "cat", ""),
        "validation": (f"{validation}/cat/2.jpg", "cat", ""),
        "test": (f"{test}/dog/3.jpg", "dog", ""),
    }


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("cat/train/1.jpg", "cat/test/2.jpg"), [("test", "", "cat"), ("train", "", "cat")]),
        (
            ("north/train/cat/1.jpg", "south/test/cat/2.jpg"),
            [("train", "north", "cat"), ("test", "south", "cat")],
        ),
        (
            ("train/north/cat/1.jpg", "test/north/cat/2.jpg"),
            [("test", "north", "cat"), ("train", "north", "cat")],
        ),
        (("train/1.jpg", "bus/2.jpg"), [("", "", "bus"), ("", "", "train")]),  # vehicles
        (("north/train/1.jpg", "north/bus/2.jpg"), [("", "north", "bus"), ("", "north", "train")]),
        (("test/cat/1.jpg", "test/dog/2.jpg"), [("test", "", "cat"), ("test", "", "dog")]),
    ],
)
def test_splits_lie_around_or_inside_of_countries_and_classes(
    tmp_path: Path, names: tuple[str, ...], expected: list[tuple[str, str, str]]
) -> None:
    found = find_samples(photos(tmp_path, *names))
    assert [(s.part, s.country, s.label) for s in found] == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("train/cat/1.jpg", "test/cat/2.jpg", "more/cat/3.jpg"),
            r"split test/, and beside.*more/",
        ),
        (("cat/1.jpg", "test/cat/2.jpg"), r"split test/, and beside it cat/"),
        (("train/1.jpg", "test/2.jpg"), r"test, train would be classes, but are called as splits"),
        (("train/1.jpg", "val/2.jpg", "cat/3.jpg"), r"train, val would be classes"),
        (("test/1.jpg", "cat/3.jpg"), r"test would be classes"),
    ],
)
def test_what_may_be_a_test_split_is_never_taken_for_something_else(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        find_samples(photos(tmp_path, *names))


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_paths_of_a_table_have_splits_as_well(tmp_path: Path, slash: str) -> None:
    photos(tmp_path, "train/1.jpg", "test/2.jpg")
    rows = "train/1.jpg,cat\ntest/2.jpg,cat\n".replace("/", slash)
    (tmp_path / "labels.csv").write_text(f"path,label\n{rows}")
    assert [s.part for s in find_samples(tmp_path)] == ["train", "test"]


def test_a_column_of_a_table_may_give_the_split(tmp_path: Path) -> None:
    photos(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "labels.csv").write_text(
        "path,label,split\n1.jpg,cat,TRAIN\n2.jpg,cat,val\n3.jpg,cat,test\n"
    )
    assert [s.part for s in find_samples(tmp_path)] == ["train", "validation", "test"]
    (tmp_path / "labels.csv").write_text("path,label,split\n1.jpg,cat,later\n")
    with pytest.raises(DataError, match=r"line 2: split must be train, validation or test, not 'l"):
        find_samples(tmp_path)
