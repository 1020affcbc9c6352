"""Do files and folders appear whole or not at all, and is nothing left of what was killed?"""

import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from leansight.runtime.system.whole_files import (
    part_name,
    scratch_folder,
    whole_file,
    whole_folder,
    write_whole,
)

IN_ANOTHER_PROCESS = """
import os, signal, sys
from pathlib import Path
from leansight.runtime.system.whole_files import whole_folder

with whole_folder(Path(sys.argv[1])) as part:
    (part / "half").write_text("half")
    print(part, flush=True)
    sys.stdin.read()
"""


def test_a_file_is_replaced_by_a_whole_one(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    with whole_file(file) as part:
        part.write_text("new")
        assert file.read_text() == "old"
        assert part.name == part_name("a.json")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_stays_as_it_was_if_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    file = tmp_path / "a.json"
    file.write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_whole(file, b"new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_files_and_the_names_of_them_are_on_the_disk_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []

    def sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", sync)
    write_whole(tmp_path / "a", b"a")
    assert synced == [tmp_path / part_name("a"), tmp_path]
    synced.clear()
    with whole_folder(tmp_path / "b") as part:
        (part / "c").write_text("c")
    assert synced == [part / "c", part, tmp_path]


def test_a_folder_appears_with_all_that_is_in_it(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with whole_folder(out) as part:
        (part / "a").write_text("a")
        assert not out.exists()
    assert (out / "a").read_text() == "a"
    assert list(out.parent.iterdir()) == [out]


def test_a_folder_is_gone_if_writing_fails(tmp_path: Path) -> None:
    with suppress(ValueError), whole_folder(tmp_path / "out") as part:
        (part / "a").write_text("a")
        raise ValueError
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    """And what one that lives is still writing is not."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(out)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with whole_folder(out) as part:
            assert {path.name for path in tmp_path.iterdir()} == {left.name, part.name}
        process.send_signal(signal.SIGKILL)
    out.rename(tmp_path / "first")
    assert (left / "half").exists()
    with whole_folder(out):
        assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"first", "out"}


def test_a_folder_of_another_name_is_left_alone(tmp_path: Path) -> None:
    for name in (".out.original", ".other.x.part", "out.x.part"):
        (tmp_path / name).mkdir()
    with whole_folder(tmp_path / "out"):
        pass
    assert len(list(tmp_path.iterdir())) == 4


def test_a_folder_for_scratch_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "leansight-abcdefgh.part").mkdir()  # of a killed process
    with scratch_folder() as folder:
        (folder / "a").write_text("a")
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())
