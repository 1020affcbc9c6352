import os
from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.system.files import allocate, write_json, write_text


def test_a_name_that_is_no_utf_8_is_written_as_its_bytes(tmp_path: Path) -> None:
    write_text(tmp_path / "list.csv", os.fsdecode(b"caf\xe9.jpg"))
    assert (tmp_path / "list.csv").read_bytes() == b"caf\xe9.jpg"


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_json(tmp_path / "report.json", {"images": 3})
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_an_allocated_file_has_its_blocks_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "view.part"
    file.touch()
    allocate(file, 1 << 20)
    assert file.stat().st_size == 1 << 20
    assert file.stat().st_blocks * 512 >= 1 << 20  # a sparse file has none


def test_more_than_the_disk_holds_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "view.part"
    file.touch()
    with pytest.raises(
        DataError, match=r"view\.part takes \d+ MB on a disk that has no room"
    ) as error:
        allocate(file, 1 << 60, parameter="bank")
    assert error.value.parameter == "bank"
    assert "\n" not in str(error.value)
