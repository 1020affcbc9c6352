"""Files and folders that appear whole or not at all, and stay so after a kill and a power cut."""

import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PART: Final = ".part"  # how the names end of what is not whole yet
_OF_DISK: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG))


@contextmanager
def whole_file(file: Path, *, suffix: str = _PART) -> Iterator[Path]:
    """Yield a hidden name beside `file`: what is written there replaces `file` at the end.

    It is on the disk then. What a killed process left there is overwritten by the next one.
    `suffix` ends the name, for libraries that go by it.
    """
    part = file.with_name(part_name(file.name, suffix))
    try:
        yield part
        sync(part)
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(file.parent)


def part_name(name: str, suffix: str = _PART) -> str:
    """Return what a file is called before it is whole."""
    return f".{name}{suffix}"


def write_whole(file: Path, data: bytes) -> None:
    """Write a file, see `whole_file`."""
    with whole_file(file) as part:
        part.write_bytes(data)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out` that becomes `out` at the end, with all that is in it.

    It is on the disk then. `out` must not be there, or be an empty folder; the folders above it are
    made. What killed processes left beside it is removed.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with _new_folder(out.parent, f".{out.name}.") as part:
        yield part
        part.chmod(0o755)
        for path in (*part.rglob("*"), part):
            sync(path)
        part.rename(out)
    sync(out.parent)


@contextmanager
def scratch_folder(above: Path | None = None) -> Iterator[Path]:
    """Yield a new folder for files that nobody needs afterwards, also those of killed processes.

    It is in `above`, by default where temporary files belong.
    """
    with _new_folder(above or Path(tempfile.gettempdir()), "leansight-") as folder:
        yield folder


@contextmanager
def _new_folder(above: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder, held by this process and removed at the end if it is still there."""
    for abandoned in above.glob(f"{glob.escape(prefix)}*{_PART}"):
        _remove_unless_held(abandoned)
    folder, held = _made_and_held(above, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _made_and_held(above: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=_PART, dir=above))
        with suppress(FileNotFoundError):  # another process took it for abandoned
            held = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # some network file systems lock nothing
                _lock(held, wait=True)
            if folder.exists():
                return folder, held
            os.close(held)


def _remove_unless_held(folder: Path) -> None:
    with suppress(OSError):  # it is held, another user's, or has just gone
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _lock(descriptor, wait=False)
            shutil.rmtree(folder)
        finally:
            os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> None:
    """Hold a folder until its descriptor is closed; the kernel lets go of a killed process'."""
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a folder, some file systems cannot
            raise
    finally:
        os.close(descriptor)


def raise_error_of_disk(error: BaseException) -> None:
    """Raise the error of a disk, if a library's error came of one: it is full, broken, or such."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _OF_DISK:
            raise cause
        cause = cause.__cause__ or cause.__context__
