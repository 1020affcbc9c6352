import os
from pathlib import Path

import pytest

from leansight.sdk.system.files import write_json, write_text


def test_a_name_that_is_no_utf_8_is_written_as_its_bytes(tmp_path: Path) -> None:
    write_text(tmp_path / "list.csv", os.fsdecode(b"caf\xe9.jpg"))
    assert (tmp_path / "list.csv").read_bytes() == b"caf\xe9.jpg"


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_json(tmp_path / "report.json", {"images": 3})
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]
