"""Is an image refused at once that somebody made to fill the memory, or to hang?"""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hostile.attacks import IMAGES
from hostile.cost import cost_of

from leansight.runtime.errors import DataError
from leansight.runtime.images import decode_image, read_image


@pytest.mark.parametrize("name", IMAGES)
def test_a_header_of_billions_of_pixels_costs_nothing(name: str) -> None:
    """OpenCV decodes a WebP file before it counts its pixels."""
    cv2.imdecode(np.zeros(10, np.uint8), cv2.IMREAD_COLOR)  # loads what it needs
    cost = cost_of(lambda: decode_image(np.frombuffer(IMAGES[name], np.uint8)))
    assert cost.error == "DataError", cost.text
    assert cost.seconds < 1
    assert cost.megabytes < 64


def test_a_fifo_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photo.png")
    with pytest.raises(DataError, match=r"photo\.png cannot be read: it is no regular file"):
        read_image(tmp_path / "photo.png")


@pytest.mark.parametrize(("channels", "depth"), [(4, np.uint8), (4, np.uint16), (1, np.uint16)])
def test_an_image_of_many_pixels_is_converted_band_by_band(
    channels: int, depth: type[np.generic], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, np.iinfo(depth).max, (37, 11, channels), dtype=depth)
    file = cv2.imencode(".png", pixels)[1]
    at_once = decode_image(file)
    monkeypatch.setattr("leansight.runtime.images._BAND_PIXELS", 30)
    assert np.array_equal(decode_image(file), at_once)
