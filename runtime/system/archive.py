"""Zip files made by strangers, read within limits that are known before anything is allocated."""

import lzma
import os
import zipfile
import zlib
from typing import IO, Final

# What zipfile raises for a damaged archive: besides its own error zlib's, one for an offset
# outside the file, and one for an encryption or compression that it does not know.
DAMAGED_ZIP: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
)
# An archive may hold so much, or so many times its own size: pictures and weights, which fill the
# large ones, are never packed so tightly.
_SMALL_BYTES: Final = 16 << 20
_MOST_TIMES: Final = 30
_DIRECTORY_BYTES: Final = 1 << 20  # of the list of its files, at its end
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END: Final = b"PK\5\6"
_END_BYTES: Final = 22
_END_OF_ZIP64: Final = b"PK\6\7"
_END_OF_ZIP64_BYTES: Final = 20
_LONGEST_COMMENT: Final = (1 << 16) - 1


def open_archive(file: IO[bytes]) -> zipfile.ZipFile:
    """Open a zip file.

    Raises:
        ValueError: it holds too many files, or much more than its own size, or is packed in
            another way than stored or deflated.
        zipfile.BadZipFile, OSError: it is damaged, or no zip file.

    """
    size = file.seek(0, os.SEEK_END)
    _check_directory(file, size)
    archive = zipfile.ZipFile(file)
    unpacked = sum(member.file_size for member in archive.infolist())
    most = max(_SMALL_BYTES, _MOST_TIMES * size)
    if unpacked > most:
        raise ValueError(f"its {size:,} bytes would become {unpacked:,}: at most {most:,}")
    if any(member.compress_type not in _METHODS for member in archive.infolist()):
        raise ValueError("its files are neither stored nor deflated")
    return archive


def _check_directory(file: IO[bytes], size: int) -> None:
    """Raise ValueError if the list of files, which zipfile reads whole, is too long.

    Its length is in the last record (APPNOTE 4.3.16), before a comment if there is one. A record
    of zip64 before that one says otherwise: it is for more files, and larger ones, than are read.
    """
    start = max(0, size - _LONGEST_COMMENT - _END_BYTES - _END_OF_ZIP64_BYTES)
    file.seek(start)
    tail = file.read(size - start)
    at = len(tail) - _END_BYTES
    if tail[at : at + len(_END)] != _END or tail[-2:] != b"\0\0":
        at = tail.rfind(_END)
    if at < 0:
        raise zipfile.BadZipFile("it is no zip file")
    is_zip64 = tail[max(0, at - _END_OF_ZIP64_BYTES) : at].startswith(_END_OF_ZIP64)
    if is_zip64 or int.from_bytes(tail[at + 12 : at + 16], "little") > _DIRECTORY_BYTES:
        raise ValueError("it holds too many files")
