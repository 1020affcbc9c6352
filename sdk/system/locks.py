"""Files that one process at a time holds; a killed process gives them back."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the file, made where it is missing; wait while another process (or thread) has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def try_lock(file: Path) -> TextIOWrapper | None:
    """Return the file, held until it is closed; None if another process (or thread) has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    held = file.open("a")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    return held
