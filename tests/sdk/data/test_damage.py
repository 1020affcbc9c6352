"""Does a strict decoder find what changed in a file that a decoder still reads?"""

from pathlib import Path

import cv2
import numpy as np
import pytest

from leansight.runtime.images import read_image
from leansight.sdk.data.damage import damage_of

pytest.importorskip("simplejpeg", reason="pip install 'leansight[jpeg]'")


def photo(folder: Path, suffix: str, *, seed: int = 0) -> Path:
    path = folder / f"photo{suffix}"
    small = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(small, (96, 96), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".gif"])
def test_a_whole_file_is_not_complained_about(tmp_path: Path, suffix: str) -> None:
    assert damage_of(photo(tmp_path, suffix)) == ""


def test_some_jpegs_with_a_changed_bit_are_found(tmp_path: Path) -> None:
    """Most cannot be: a changed number looks like any number, nothing in a JPEG tells of it."""
    whole, random = photo(tmp_path, ".jpg").read_bytes(), np.random.default_rng(1)
    begin = whole.index(b"\xff\xda") + 14
    file, read, found = tmp_path / "flipped.jpg", 0, 0
    for _ in range(100):
        data = bytearray(whole)
        data[random.integers(begin, len(data) - 2)] ^= 1 << random.integers(8)
        file.write_bytes(data)
        read += read_image(file).shape == (96, 96, 3)
        found += bool(damage_of(file))
    assert read == 100
    assert found > 10


def test_every_png_with_a_changed_byte_is_found(tmp_path: Path) -> None:
    path, random = photo(tmp_path, ".png"), np.random.default_rng(1)
    whole = path.read_bytes()
    for _ in range(50):
        data = bytearray(whole)
        data[random.integers(16, len(data))] ^= 1 << random.integers(8)
        path.write_bytes(data)
        assert damage_of(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_file_that_was_cut_is_found(tmp_path: Path, suffix: str) -> None:
    path = photo(tmp_path, suffix)
    path.write_bytes(path.read_bytes()[:-100])
    assert damage_of(path)
