from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.deployment.imported_network import read_labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\nb\n", "line 2 is empty"),
        ("a\nb\na\n", "line 3 is a again"),
        ("a\n", "has 1 labels: two or more"),
    ],
)
def test_labels_that_cannot_be_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "labels.txt")


def test_a_missing_file_of_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.txt is no file: the labels"):
        read_labels(tmp_path / "none.txt")


def test_labels_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("\ufeffzebra\r\nçay bahçesi\r\n\r\n".encode())
    assert read_labels(tmp_path / "labels.txt") == ("zebra", "çay bahçesi")


def test_teachable_machines_numbers_are_no_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0 Class 1\n1 my dog\n2 nothing\n")
    assert read_labels(tmp_path / "labels.txt") == ("Class 1", "my dog", "nothing")


@pytest.mark.parametrize("text", ["1 km\n2 km\n", "0 a\n2 b\n", "0 a\nb\n", "0\n1\n"])
def test_other_numbers_belong_to_the_labels(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert read_labels(tmp_path / "labels.txt") == tuple(text.split("\n")[:-1])
