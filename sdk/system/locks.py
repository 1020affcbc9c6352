"""Files that one process at a time holds; a killed process gives them back (decision 15)."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from leansight.runtime.errors import DataError


def lock(file: Path) -> TextIOWrapper:
    """Return the file, held until it is closed; wait while another process (or thread) has it.

    It is made where it is missing.
    """
    held = _opened(file)
    try:
        wait_for(held)
    except BaseException:  # Ctrl-C
        held.close()
        raise
    return held


def wait_for(held: IO[Any]) -> None:
    """Hold an open file until it is closed; wait while another process (or thread) has it."""
    fcntl.flock(held, fcntl.LOCK_EX)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the file as long as the `with` lasts, see `lock`."""
    with lock(file):
        yield


def try_lock(file: Path) -> TextIOWrapper | None:
    """Return the file, held until it is closed; None if another process (or thread) has it."""
    while True:
        held = _opened(file)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            return None
        if os.fstat(held.fileno()).st_nlink:
            return held
        held.close()  # who held it before has removed it: the next one would hold another file


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Keep the folder of the file to this process, by holding the file; it is removed at the end.

    The folder is made where it is missing, and removed where nothing has been written into it.

    Raises:
        DataError: another process (or thread) has it.

    """
    held = try_lock(file)
    if held is None:
        raise DataError(f"{file.parent} is in use: another process works there")
    with held:
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            with suppress(OSError):  # it is not empty
                file.parent.rmdir()


def _opened(file: Path) -> TextIOWrapper:
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process removes the folder, see `exclusive`
            held = file.open("a")
            # The readers that a training forks outlive it by seconds if it is killed.
            os.register_at_fork(after_in_child=held.close)
            return held
