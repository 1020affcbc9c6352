"""Files that are written whole or not at all."""

import json
import os
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from leansight.runtime.bundle import refuse_existing
from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import write_whole


def require_new(out: Path) -> None:
    """Raise BundleError if there is something at `out`, DataError if nothing can be put there."""
    require_writable(out)
    refuse_existing(out)


def require_writable(out: Path, parameter: str = "out") -> None:
    """Raise DataError if nothing can be written at `out`, before there is anything to write.

    It is tried with a nameless file, in the nearest folder that is there.
    """
    try:
        folder = next(path for path in (out, *out.absolute().parents) if path.exists())
        if out.is_file():
            folder = out.absolute().parent
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"{out} cannot be written: {reason[:1].lower()}{reason[1:]}. Choose another path",
            parameter=parameter,
        ) from error


def allocate(file: Path | IO[bytes], size_bytes: int, *, parameter: str = "out") -> None:
    """Give a file its room on the disk before it is mapped into memory.

    A mapped file that finds the disk full ends the program by SIGBUS.

    Raises:
        DataError: there is not enough room.

    """
    with file.open("r+b") if isinstance(file, Path) else nullcontext(file) as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, max(size_bytes, 1))
        except OSError as error:
            where = f"{file} takes" if isinstance(file, Path) else "images take"
            raise DataError(
                f"{where} {size_bytes / 1e6:.0f} MB on a disk that has no room for it: "
                f"{(error.strerror or str(error)).lower()}. Choose another folder",
                parameter=parameter,
            ) from error


def write_text(file: Path, text: str) -> None:
    """Write UTF-8 text, see `whole_file`.

    Names of files that are no UTF-8 are written as the bytes that they are.
    """
    write_whole(file, text.encode("utf-8", errors="surrogateescape"))


def write_json(file: Path, values: object) -> None:
    """Write plain JSON values, as people read them."""
    write_text(file, json.dumps(values, indent=2) + "\n")
