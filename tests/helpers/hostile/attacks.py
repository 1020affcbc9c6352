"""Named attacks: bundles and images that somebody made to hang, to crash, or to fill the memory.

Each takes a good bundle folder with golden photos, or nothing, and returns hostile bytes or a path.
"""

import hashlib
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

HUGE: Final = 100_000  # pixels of a side

# --- Bundles ---------------------------------------------------------------------------------


def forge(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the manifest, and give it a digest that is right again."""
    manifest = json.loads((folder / "bundle.json").read_text())
    change(manifest)
    del manifest["digest"]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest["digest"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def replace(folder: Path, name: str, data: bytes) -> Path:
    """Put other bytes into a file, and their record into the manifest."""
    (folder / name).write_bytes(data)
    record = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    return forge(folder, lambda manifest: manifest["files"].update({name: record}))


def zipped(folder: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    out = folder.with_suffix(".zip")
    with zipfile.ZipFile(out, "w", method) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return out


def zip_bomb(folder: Path) -> Path:
    """1.2 MB that become 1.2 GB, with a record that says so; the file itself is not kept."""
    zeros, size = bytes(1 << 20), 1200 << 20
    digest = hashlib.sha256()
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("model.tflite", "w") as member:
            for _ in range(size >> 20):
                member.write(zeros)
                digest.update(zeros)
        record = {"sha256": digest.hexdigest(), "size_bytes": size}
        forge(folder, lambda manifest: manifest["files"].update({"model.tflite": record}))
        archive.write(folder / "bundle.json", "bundle.json")
    return folder.with_suffix(".zip")


def zip_of_many_files(folder: Path) -> Path:
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        archive.write(folder / "bundle.json", "bundle.json")
        for number in range(60_000):
            archive.writestr(f"{number}", b"")
    return folder.with_suffix(".zip")


def zip_of_zip64(folder: Path) -> Path:
    """The last record of a zip is overruled by one of zip64, which says 4 GB of names."""
    data = zipped(folder).read_bytes()
    end = data.rindex(b"PK\5\6")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 1 << 32, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    folder.with_suffix(".zip").write_bytes(data[:end] + record + locator + data[end:])
    return folder.with_suffix(".zip")


def manifest_bomb(folder: Path) -> Path:
    text = '{"format_version":1,"x":[' + "[]," * (5 << 20) + "0]}"
    (folder / "bundle.json").write_text(text)
    return zipped(folder)


def manifest_of_lists(folder: Path) -> Path:
    return forge(folder, lambda manifest: manifest.update(metrics={"x": [[]] * 600_000}))


def fifo(name: str) -> Callable[[Path], Path]:
    def attack(folder: Path) -> Path:
        (folder / name).unlink()
        os.mkfifo(folder / name)
        return folder

    return attack


def fifo_for_a_bundle(folder: Path) -> Path:
    os.mkfifo(folder.with_suffix(".zip"))
    return folder.with_suffix(".zip")


def device(folder: Path) -> Path:
    (folder / "bundle.json").unlink()
    (folder / "bundle.json").symlink_to("/dev/zero")
    return folder


def sparse(name: str) -> Callable[[Path], Path]:
    """A file of a terabyte that takes no room on the disk."""

    def attack(folder: Path) -> Path:
        with (folder / name).open("r+b") as file:
            file.truncate(1 << 40)
        return folder

    return attack


def forged(**values: object) -> Callable[[Path], Path]:
    """Values of the manifest, or of its preprocessing or decision, by `table__key`."""

    def change(manifest: dict[str, Any]) -> None:
        for key, value in values.items():
            table, _, name = key.rpartition("__")
            (manifest[table] if table else manifest)[name] = value

    return lambda folder: forge(folder, change)


def golden(change: Callable[[dict[str, np.ndarray[Any, Any]]], object]) -> Callable[[Path], Path]:
    """Change the arrays of the golden photos."""

    def attack(folder: Path) -> Path:
        with np.load(folder / "golden.npz") as file:
            arrays = dict(file)
        change(arrays)
        data = io.BytesIO()
        np.savez_compressed(data, allow_pickle=False, **arrays)
        return replace(folder, "golden.npz", data.getvalue())

    return attack


def golden_of(header: str) -> Callable[[Path], Path]:
    """An array whose header says what it likes."""

    def attack(folder: Path) -> Path:
        text = header.encode()
        member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(100)
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("photo_00.npy", member)
        return replace(folder, "golden.npz", data.getvalue())

    return attack


BUNDLES: Final[Mapping[str, Callable[[Path], Path]]] = {
    "a zip of 1.2 MB that becomes 1.2 GB": zip_bomb,
    "a zip of 60,000 files": zip_of_many_files,
    "a zip whose zip64 record says 4 GB of names": zip_of_zip64,
    "a zip with LZMA": lambda folder: zipped(folder, zipfile.ZIP_LZMA),
    "a zip with bzip2": lambda folder: zipped(folder, zipfile.ZIP_BZIP2),
    "a manifest of 15 MB in a small zip": manifest_bomb,
    "a manifest of 2 MB of lists": manifest_of_lists,
    "a FIFO for a manifest": fifo("bundle.json"),
    "a FIFO for a model": fifo("model.onnx"),
    "a FIFO for a bundle": fifo_for_a_bundle,
    "a device for a manifest": device,
    "a sparse manifest": sparse("bundle.json"),
    "a sparse model": sparse("model.tflite"),
    "a huge size": forged(preprocessing__size=16_384),
    "a size of many digits": forged(preprocessing__size=10**4000),
    "a size that the model does not take": forged(preprocessing__size=4096),
    "infinite contrast": forged(preprocessing__clahe={"clip_limit": float("inf"), "tiles": 4}),
    "many tiles": forged(preprocessing__clahe={"clip_limit": 2.0, "tiles": 1 << 20}),
    "a temperature near zero": forged(decision__temperature=1e-320),
    "a threshold that is no number": forged(decision__threshold=float("nan")),
    "labels nested": forged(labels=[[["a"]], "b", "c"]),
    "a file of a terabyte": forged(files={"model.onnx": {"sha256": "0", "size_bytes": 1 << 39}}),
    "golden photos that become 1 GB": golden(
        lambda arrays: arrays.update(photo_00=np.zeros((18_000, 18_000, 3), np.uint8))
    ),
    "golden pixels of another shape": golden(
        lambda arrays: arrays.update(pixels=np.zeros((1 << 20, 1, 1, 1), np.uint8))
    ),
    "golden logits of another shape": golden(
        lambda arrays: arrays.update(logits_tflite=np.zeros((1 << 20, 1), np.float32))
    ),
    "golden text": golden(lambda arrays: arrays.update(photo_00=np.array("photo"))),
    "a golden header of a petabyte": golden_of(
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({1 << 50},), }}\n"
    ),
    "a golden header that is nested": golden_of("(" * 9000 + "\n"),
    "a golden header of objects": golden_of(
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    ),
}

# --- Images ----------------------------------------------------------------------------------


def png(width: int, height: int, *, pixels: bytes = b"") -> bytes:
    """Return a PNG of that size, whatever its pixels are."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", pixels or zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    sizes = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + sizes


def gif(width: int, height: int) -> bytes:
    frame = struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b"\x2c" + frame


def jpeg(width: int, height: int) -> bytes:
    """A header of a gray picture, and no pixels."""
    frame = struct.pack(">BHBHHBBBB", 0xC0, 11, 8, height, width, 1, 1, 0x11, 0)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff\xd9"
    return b"\xff\xd8\xff\xdb\x00\x43\x00" + bytes([1] * 64) + b"\xff" + frame + scan


def tiff(width: int, height: int) -> bytes:
    numbers = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in {**numbers, 279: 9}.items()]
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(100)


def webp(kind: bytes) -> bytes:
    """The three ways in which a WebP file tells its size, here 16,384 × 16,384."""
    contents = {
        b"VP8L": b"\x2f" + b"\xff\xff\xff\x0f" + bytes(8),
        b"VP8 ": b"\x10\0\0\x9d\x01\x2a" + b"\xff\x3f\xff\x3f" + bytes(8),
        b"VP8X": b"\x10\0\0\0" + b"\xff\x3f\0\xff\x3f\0" + bytes(8),
    }
    chunk = kind + struct.pack("<I", len(contents[kind])) + contents[kind]
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


IMAGES: Final[Mapping[str, bytes]] = {
    "a PNM of 24 bytes": b"P6 100000 100000 255\n\0\0\0",
    "a text PNM": b"P3 100000 100000 255\n1 1 1",
    "a bitmap PNM": b"P4 100000 100000\n\0\0",
    "a PNG": png(HUGE, HUGE),
    "a PNG of two billion": png(2**31 - 1, 2**31 - 1),
    "a BMP": bmp(HUGE, HUGE),
    "a BMP from its top": bmp(HUGE, -HUGE),
    "a GIF": gif(65_535, 65_535),
    "a JPEG": jpeg(65_000, 65_000),
    "a TIFF": tiff(HUGE, HUGE),
    "a lossless WebP": webp(b"VP8L"),
    "a lossy WebP": webp(b"VP8 "),
    "an extended WebP": webp(b"VP8X"),
}
