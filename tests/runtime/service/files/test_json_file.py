import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles.stream_results import seen

from leansight.runtime.errors import DataError
from leansight.runtime.service.files.json_file import JsonFile
from leansight.runtime.service.json_lines import to_line

LINE_BYTES = len(to_line(seen(at_s=1)))


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file of this process may be longer than two and a half lines, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LINE_BYTES * 5 // 2, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def times(file: Path) -> list[float]:
    text = file.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line)["monotonic"] for line in text.splitlines()]


def write(file: JsonFile, first: int, last: int) -> None:
    for second in range(first, last + 1):
        file.write(seen(at_s=second))


def test_lines_are_appended_to_those_that_are_there(tmp_path: Path) -> None:
    for begin in (1, 4):
        file = JsonFile(tmp_path / "a.jsonl", max_bytes=10_000, files=2)
        write(file, begin, begin + 2)
        file.close()
    assert times(tmp_path / "a.jsonl") == [1, 2, 3, 4, 5, 6]


def test_so_many_files_stay_each_within_its_size(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "a.jsonl", max_bytes=LINE_BYTES * 2, files=3)
    write(file, 1, 9)
    file.close()
    assert {path.name: times(path) for path in tmp_path.iterdir()} == {
        "a.jsonl": [9],
        "a.jsonl.1": [7, 8],
        "a.jsonl.2": [5, 6],
    }


def test_one_file_begins_anew(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "a.jsonl", max_bytes=LINE_BYTES * 2, files=1)
    write(file, 1, 5)
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert times(tmp_path / "a.jsonl") == [5]


@pytest.mark.usefixtures("little_room")
def test_a_full_disk_is_trouble_and_lines_go_on_when_there_is_room(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "a.jsonl", max_bytes=10_000, files=2)
    write(file, 1, 2)
    assert file.trouble == ""
    write(file, 3, 4)
    assert "lines are lost" in file.trouble
    assert times(tmp_path / "a.jsonl") == [1, 2]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    write(file, 5, 6)
    assert file.trouble == ""
    file.close()
    assert times(tmp_path / "a.jsonl") == [1, 2, 5, 6]


def test_half_a_line_of_a_power_cut_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(to_line(seen(at_s=1)) + '{"state": "runn' + "x" * 9000)
    file = JsonFile(path, max_bytes=10_000, files=2)
    write(file, 2, 2)
    file.close()
    assert times(path) == [1, 2]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: No such file"):
        JsonFile(tmp_path / "no" / "a.jsonl", max_bytes=10_000, files=2)
