"""A link that changes at once, in a folder that one process at a time changes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leansight.runtime.system.whole_files import part_name, sync


def switch_link(link: Path, target: str) -> None:
    """Let a symbolic link lead to `target`, from one moment to the next; it is on the disk then.

    Before and after a kill or a power cut it leads to what it led to, or to the target.
    """
    part = link.with_name(part_name(link.name))
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    try:
        part.replace(link)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync(link.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are missing; they are on the disk then."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


@contextmanager
def alone_in(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder while the `with` lasts.

    Where another process has it: wait, or raise BlockingIOError.
    """
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
