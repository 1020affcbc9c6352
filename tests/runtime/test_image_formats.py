import io

import pytest
from PIL import Image

from leansight.runtime.image_formats import HEAD_BYTES, ImageFormat, format_of


@pytest.mark.parametrize(
    ("pillow", "form"),
    [
        ("AVIF", "avif"),
        ("BMP", "bmp"),
        ("GIF", "gif"),
        ("JPEG", "jpeg"),
        ("JPEG2000", "jpeg2000"),
        ("PNG", "png"),
        ("PPM", "pnm"),
        ("TIFF", "tiff"),
        ("WEBP", "webp"),
        ("ICO", None),
        ("TGA", None),
        ("PDF", None),
    ],
)
def test_a_format_is_known_by_its_first_bytes(pillow: str, form: ImageFormat | None) -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, pillow)
    assert format_of(file.getvalue()[:HEAD_BYTES]) == form


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "avif"),
        (b"\0\0\0\x1cftypisom\0\0\0\0isommp42", None),
        (b"BMW,Audi\nVW,Opel\n" + bytes(20), None),
        (b"P3 is a text\n", None),
        (b"<svg xmlns=", None),
        (b"", None),
    ],
)
def test_texts_and_videos_are_no_images(head: bytes, form: ImageFormat | None) -> None:
    assert format_of(head) == form
