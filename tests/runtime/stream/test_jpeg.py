import importlib.util

import cv2
import numpy as np
import pytest
from streams import Picture

from leansight.runtime.errors import MissingExtraError
from leansight.runtime.stream import jpeg as module
from leansight.runtime.stream.jpeg import encode_jpeg


@pytest.fixture(params=["simplejpeg", "OpenCV"])
def encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two libraries encodes."""
    name: str = request.param
    if name == "OpenCV":
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    else:
        monkeypatch.setattr(module, "opencv", lambda: pytest.fail("OpenCV was asked"))
    return name


def shades(height: int, width: int) -> Picture:
    rows, columns = np.mgrid[:height, :width]
    planes = (rows * 255 // height, columns * 255 // width, 255 - rows * 255 // height)
    return np.stack(planes, axis=-1).astype(np.uint8)


def decoded(data: bytes) -> Picture:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def test_a_picture_looks_the_same_when_it_is_read(encoder: str) -> None:
    assert encoder
    image = shades(120, 160)
    difference = decoded(encode_jpeg(image)).astype(int) - image
    assert np.abs(difference).mean() < 2


def test_a_part_of_a_picture_is_encoded_too(encoder: str) -> None:
    assert encoder
    image = shades(120, 160)[::-1, 10:90]
    assert np.abs(decoded(encode_jpeg(image)).astype(int) - image).mean() < 2


def test_more_quality_takes_more_bytes(encoder: str) -> None:
    assert encoder
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert len(encode_jpeg(image, quality=95)) > 1.5 * len(encode_jpeg(image, quality=60))


@pytest.mark.parametrize(
    ("size", "small"),
    [((480, 640), (480, 640)), ((720, 1280), (360, 640)), ((1000, 641), (500, 321))],
)
def test_a_large_picture_is_made_smaller(size: tuple[int, int], small: tuple[int, int]) -> None:
    image = shades(*size)
    step = size[0] // small[0]
    smaller = decoded(encode_jpeg(image, most_px=640))
    assert smaller.shape[:2] == small
    assert np.abs(smaller.astype(int) - image[::step, ::step]).mean() < 2


def test_without_either_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    def missing() -> None:
        raise MissingExtraError("OpenCV", "opencv", "python3-opencv")

    monkeypatch.setattr(module, "opencv", missing)
    with pytest.raises(MissingExtraError, match="OpenCV is not installed"):
        encode_jpeg(shades(8, 8))
