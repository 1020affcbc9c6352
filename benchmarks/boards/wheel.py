"""This leansight as a wheel, to be installed where there is none."""

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from leansight.runtime.errors import LeansightError
from leansight.runtime.pixels.compiled import LIBRARY

# What measures: the rest would bring nothing that runs there.
_ROOMS: Final = ("runtime", "benchmarks")
_LEFT_OUT: Final = "__pycache__"
_TAG: Final = "py3-none-any"


def pack_wheel(folder: Path, *, prepare: Path | None = None) -> Path:
    """Write a wheel of what measures (the rooms runtime and benchmarks) into the folder.

    Its requirements and extras are those of leansight. `prepare` is the C library of the
    preprocessing for where the wheel goes; without it, it goes along as it is here, and on another
    kind of processor OpenCV takes its place.

    Raises:
        LeansightError: this leansight has no metadata to take along.

    """
    found = distribution("leansight")
    metadata = found.read_text("METADATA")
    if metadata is None:
        raise LeansightError("this leansight cannot be packed: install it with pip")
    name = f"leansight-{found.version}"
    info = f"{name}.dist-info"
    files = dict(_files())
    if prepare is not None:
        here = [file for file in files if Path(file).match(f"pixels/{LIBRARY}")]
        for file in here:
            del files[file]
        files[f"leansight/runtime/pixels/{prepare.name}"] = prepare.read_bytes()
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: leansight\nRoot-Is-Purelib: true\nTag: {_TAG}\n".encode()
    )
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    path = folder / f"{name}-{_TAG}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in files.items():
            archive.writestr(file, data)
    return path


def _files() -> Iterator[tuple[str, bytes]]:
    for room in _ROOMS:
        (root,) = import_module(f"leansight.{room}").__path__
        for path in sorted(Path(root).rglob("*")):
            if path.is_file() and _LEFT_OUT not in path.parts:
                yield f"leansight/{room}/{path.relative_to(root)}", path.read_bytes()


def _record(files: dict[str, bytes], own: str) -> bytes:
    """Return the list of files with their digests (packaging.python.org, recording installed)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        writer.writerow([name, f"sha256={digest}", len(data)])
    writer.writerow([own, "", ""])
    return text.getvalue().encode()
