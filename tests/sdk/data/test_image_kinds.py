from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from leansight.sdk.data.image_kinds import DEEP, SEVERAL, TRANSPARENT, special_images

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
RGBA = Image.fromarray(PIXELS, "RGBA")
RGB, PALETTE = RGBA.convert("RGB"), RGBA.convert("RGB").quantize(16)
PAGES: dict[str, Any] = {"save_all": True, "append_images": [RGB.rotate(180)]}


@pytest.mark.parametrize(
    ("image", "form", "options", "expected"),
    [
        (RGB, "PNG", {}, None),
        (RGB, "JPEG", {}, None),
        (RGB, "WEBP", {}, None),
        (RGB, "WEBP", {"lossless": True}, None),
        (RGB, "TIFF", {}, None),
        (PALETTE, "GIF", {}, None),
        (PALETTE, "PNG", {}, None),
        (RGBA, "PNG", {}, TRANSPARENT),
        (RGBA.convert("LA"), "PNG", {}, TRANSPARENT),
        (PALETTE, "PNG", {"transparency": 3}, TRANSPARENT),
        (PALETTE, "GIF", {"transparency": 3}, TRANSPARENT),
        (RGBA, "WEBP", {}, TRANSPARENT),
        (RGBA, "WEBP", {"lossless": True}, TRANSPARENT),
        (RGBA, "TIFF", {}, TRANSPARENT),
        (RGB, "TIFF", PAGES, SEVERAL),
        (RGB, "WEBP", PAGES, SEVERAL),
        (RGB, "PNG", PAGES, SEVERAL),
        (RGB, "GIF", PAGES, SEVERAL),
        (Image.fromarray(PIXELS[..., 0].astype(np.uint16)), "PNG", {}, DEEP),
        (Image.fromarray(PIXELS[..., 0].astype(np.uint16)), "TIFF", {}, DEEP),
    ],
)
def test_what_is_not_plain_is_known_from_the_file(
    tmp_path: Path, image: Image.Image, form: str, options: dict[str, Any], expected: str | None
) -> None:
    image.save(tmp_path / "image", form, **options)
    found = special_images(tmp_path, [Path("image")])
    found.pop(TRANSPARENT if expected == SEVERAL else "", None)  # later frames may need it
    assert found == ({expected: [Path("image")]} if expected else {})


def test_16_bits_of_several_channels(tmp_path: Path) -> None:
    for name in ("x.tif", "x.png"):
        assert cv2.imwrite(str(tmp_path / name), PIXELS[..., :3].astype(np.uint16) * 257)
    assert special_images(tmp_path, [Path("x.tif"), Path("x.png")]) == {
        DEEP: [Path("x.tif"), Path("x.png")]
    }


@pytest.mark.parametrize("form", ["PNG", "GIF", "TIFF", "WEBP"])
def test_a_damaged_file_is_nothing_special(tmp_path: Path, form: str) -> None:
    PALETTE.save(tmp_path / "whole", form)
    data = (tmp_path / "whole").read_bytes()
    for length in range(0, len(data), max(1, len(data) // 50)):
        (tmp_path / "cut").write_bytes(data[:length])
        special_images(tmp_path, [Path("cut"), Path("absent")])
