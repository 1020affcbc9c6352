"""Files as they come from full disks, broken downloads and slips of the hand."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np

Damage = Callable[[bytes], bytes]


def _zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("other/notes.txt", "something else")
    return data.getvalue()


def _flipped(seed: int) -> Damage:
    """Return what changes one byte in two hundred, at least one."""

    def flip(data: bytes) -> bytes:
        rng, changed = np.random.default_rng(seed), bytearray(data)
        for place in rng.integers(0, len(data), max(1, len(data) // 200)):
            changed[place] ^= int(rng.integers(1, 256))
        return bytes(changed)

    return flip


DAMAGES: Final[dict[str, Damage]] = {
    "empty": lambda _: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "without its beginning": lambda data: data[len(data) // 2 :],
    "zeros": lambda data: bytes(len(data)),
    "noise": lambda _: np.random.default_rng(0).bytes(400),
    "changed bytes": _flipped(0),
    "other changed bytes": _flipped(1),
    "twice": lambda data: data + data,
    "a text": lambda _: b"not this\n",
    "Latin-1": lambda _: "café;ä\n".encode("latin-1"),
    "UTF-16": lambda _: "a,b\n1,2\n".encode("utf-16"),
    "NUL bytes": lambda data: data.replace(b",", b"\0"),
    "a picture": lambda _: cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes(),
    "a zip": lambda _: _zip(),
    "another JSON": lambda _: b"[1, 2]",
    "a number": lambda _: b"3",
    "an empty object": lambda _: b"{}",
    "nested too deeply": lambda _: b"[" * 100_000,
    "huge numbers": lambda data: re.sub(rb"\d+\.?\d*", b"1e999", data),
    "negative numbers": lambda data: re.sub(rb"\d+", b"-1", data),
}


def damages_of(file: Path) -> Iterator[str]:
    """Damage a file in one way after the other, yield what was done, and mend it at the end."""
    data = file.read_bytes()
    for name, damage in DAMAGES.items():
        if damage(data) != data:
            file.write_bytes(damage(data))
            yield name
    file.unlink()
    yield "missing"
    file.mkdir()
    yield "a folder"
    file.rmdir()
    file.symlink_to(file)
    yield "a link to itself"
    file.unlink()
    file.write_bytes(data)
