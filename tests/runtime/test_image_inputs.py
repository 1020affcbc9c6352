import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from leansight.runtime.errors import DataError
from leansight.runtime.image_inputs import to_bgr
from leansight.runtime.images import read_image

RNG = np.random.default_rng(0)
BGR = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GRAY = RNG.integers(0, 256, (5, 7), np.uint8)
ALPHA = RNG.integers(0, 255, (5, 7), np.uint8)  # none is opaque
RGB = BGR[..., ::-1]


def on_white(bgr: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Mix by the definition, rounded to the nearest."""
    share = alpha[..., None] / 255
    return np.floor(bgr * share + 255 * (1 - share) + 0.5).astype(int)


# Arrays


@pytest.mark.parametrize("image", [BGR, GRAY, BGR[::2, 1:4], BGR[::-1]])
def test_an_array_in_bgr_or_gray_is_taken_as_it_is(image: NDArray[np.uint8]) -> None:
    assert to_bgr(image) is image


def test_gray_may_have_an_axis_of_channels() -> None:
    assert np.array_equal(to_bgr(GRAY[..., None]), GRAY)
    assert np.array_equal(to_bgr(GRAY[..., None], rgb=True), GRAY)


@pytest.mark.parametrize("module", [cv2, None])
def test_rgb_says_the_order_with_opencv_and_without(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType | None
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", module)
    opaque = np.full((5, 7), 255, np.uint8)
    for image in (RGB, RGB.copy(), np.dstack((RGB, opaque))):
        assert np.array_equal(to_bgr(image, rgb=True), BGR)
    assert np.array_equal(to_bgr(np.dstack((BGR, opaque))), BGR)
    assert np.array_equal(to_bgr(GRAY, rgb=True), GRAY)


def test_transparent_pixels_of_an_array_are_shown_on_white() -> None:
    expected = on_white(BGR, ALPHA)
    assert np.array_equal(to_bgr(np.dstack((BGR, ALPHA))), expected)
    assert np.array_equal(to_bgr(np.dstack((RGB, ALPHA)), rgb=True), expected)


def test_a_fourth_channel_of_zeros_is_no_alpha() -> None:
    with pytest.raises(ValueError, match=r"all pixels .* transparent: .* pass image\[..., :3\]$"):
        to_bgr(np.dstack((BGR, np.zeros((5, 7), np.uint8))))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (BGR.astype(np.float32) / 255, "the image has float32 pixels: whole numbers of 8 bits"),
        (BGR.astype(np.uint16), "the image has uint16 pixels"),
        (BGR > 0, "the image has bool pixels"),
        (np.zeros((0, 7, 3), np.uint8), r"no pixels: its shape is \(0, 7, 3\)"),
        (np.zeros((7, 0), np.uint8), r"no pixels: its shape is \(7, 0\)"),
        (np.zeros((3, 224, 224), np.uint8), r"1, 3 or 4 channels, not \(3, 224, 224\)"),
        (BGR[None], r"1, 3 or 4 channels, not \(1, 5, 7, 3\)"),
        (BGR[..., :2], r"1, 3 or 4 channels, not \(5, 7, 2\)"),
        (np.zeros(9, np.uint8), r"1, 3 or 4 channels, not \(9,\)"),
        (None, "the image is None: cv2.imread returns it"),
        ([[1, 2], [3, 4]], "a numpy array, a PIL image, a path or the bytes of a file, not list"),
        (3, "not int"),
    ],
)
def test_everything_else_is_refused_in_one_line(image: Any, message: str) -> None:  # noqa: ANN401 -- anything
    with pytest.raises(ValueError, match=message) as caught:
        to_bgr(image)
    assert "\n" not in str(caught.value)


# Files


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_a_path_and_the_bytes_of_a_file_give_what_read_image_gives(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"photo{suffix}"
    assert cv2.imwrite(str(path), np.dstack((BGR, ALPHA)) if suffix == ".png" else BGR)
    data = path.read_bytes()
    for given_image in (path, str(path), data, bytearray(data), memoryview(data)):
        assert np.array_equal(to_bgr(given_image), read_image(path))
        assert np.array_equal(to_bgr(given_image, rgb=True), read_image(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.jpg does not exist"):
        to_bgr(tmp_path / "nowhere.jpg")
    for data in (b"", b"no image"):
        with pytest.raises(DataError, match=r"^the image is not an image that OpenCV can read"):
            to_bgr(data)


# PIL images


@settings(max_examples=100, deadline=None)
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA"]),
    orientation=st.integers(1, 8),
    transparency=st.none() | st.integers(0, 255),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_pil_image_shows_what_its_file_shows(
    tmp_path_factory: pytest.TempPathFactory,
    mode: str,
    orientation: int,
    transparency: int | None,
    seed: int,
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (4, 6, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif}
    if transparency is not None and mode in "LP":
        options["transparency"] = transparency
    path = tmp_path_factory.mktemp("pil") / "photo.png"
    Image.fromarray(noise).convert(mode).save(path, **options)
    with Image.open(path) as image:
        found = to_bgr(image)
    expected = read_image(path)
    assert np.array_equal(found if found.ndim == 3 else np.dstack([found] * 3), expected)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16", "RGBX"])
def test_other_modes_of_pil_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=f'mode "{mode}" is not taken: convert it to "RGB" or "L"'):
        to_bgr(Image.new(mode, (4, 4)))


def test_a_truncated_pil_image_is_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(file, "PNG")
    with (
        Image.open(io.BytesIO(file.getvalue()[:2000])) as image,
        pytest.raises(DataError, match=r"^the PIL image cannot be read: .*truncated"),
    ):
        to_bgr(image)


def test_pil_is_not_imported_for_it() -> None:
    code = (
        "import sys, numpy as np; from leansight.runtime.image_inputs import to_bgr\n"
        "to_bgr(np.zeros((4, 4, 4), np.uint8) + 255)\n"
        "try: to_bgr(object())\nexcept ValueError: pass\n"
        "sys.exit('PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
