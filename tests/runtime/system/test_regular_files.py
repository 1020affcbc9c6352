"""Are only plain files of a known size read?"""

import os
from pathlib import Path

import pytest

from leansight.runtime.system.regular_files import read_regular


def test_a_file_is_read_through_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b", 5) == b"12345"


def test_a_longer_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="it has 1,099,511,627,776 bytes: at most 5 are read"):
        read_regular(tmp_path / "a", 5)


def test_fifos_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(ValueError, match="it is no regular file"):
            read_regular(path, 5)


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        read_regular(tmp_path, 5)
