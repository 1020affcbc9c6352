import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hostile.attacks import IMAGES
from hostile.cost import cost_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from leansight.runtime.errors import DataError, MissingExtraError
from leansight.runtime.images import decode_image, read_image
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.data.images import load_labelled
from leansight.sdk.data.samples import Sample

LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {},
    "BMP": {},
    "PPM": {},
    "GIF": {},
}
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


def noise(height: int, width: int, channels: int = 4, *, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def shown_by_pillow(file: io.BytesIO) -> NDArray[np.int64]:
    """Return (H, W, 3) BGR as Pillow reads it, upright and on white."""
    image = ImageOps.exif_transpose(Image.open(file))
    rgba = np.asarray(image.convert("RGBA")).astype(np.int64)
    colours, alpha = rgba[..., :3], rgba[..., 3:]
    return ((colours * alpha + 255 * (255 - alpha) + 127) // 255)[..., ::-1]


def encoded(image: Image.Image, form: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, form, **options)
    file.seek(0)
    return file


def read(folder: Path, file: io.BytesIO | bytes, name: str = "image") -> NDArray[np.uint8]:
    data = file if isinstance(file, bytes) else file.getvalue()
    (folder / name).write_bytes(data)
    return read_image(folder / name)


@settings(max_examples=150, deadline=None)
@given(
    form=st.sampled_from(sorted(LOSSLESS)),
    mode=st.sampled_from(MODES),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    orientation=st.integers(1, 8),
    seed=st.integers(0, 1000),
)
def test_every_reader_sees_what_pillow_sees(
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    mode: str,
    height: int,
    width: int,
    orientation: int,
    seed: int,
) -> None:
    drawn = Image.fromarray(noise(height, width, seed=seed), "RGBA")
    image = drawn.convert("RGB").quantize(16) if mode == "P" else drawn.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Pillow turns TIFF files of some kinds only (a cache of its own), and 8-bit alpha in TIFF is
    # rounded twice; both have tests of their own.
    turns = {"exif": exif} if form in ("PNG", "WEBP") else {}
    try:
        file = encoded(image, form, **LOSSLESS[form], **turns)
    except (OSError, ValueError):  # the format has no such images
        return
    if form in ("TIFF", "BMP", "PPM") and "A" in mode:
        return
    folder = tmp_path_factory.mktemp("images")
    found = read(folder, file)
    np.testing.assert_array_equal(found, shown_by_pillow(file))
    # Training and the device: one reader, the same bytes.
    preprocessing = Preprocessing(size=8)
    sample = Sample(path=Path("image"), labels=("a",))
    loaded = load_labelled(folder, [sample], ("a", "b"), preprocessing, what="reading")
    np.testing.assert_array_equal(loaded.pixels, preprocessing(read_image(folder / "image")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_upright(tmp_path: Path, mode: str, orientation: int) -> None:
    smooth = cv2.resize(noise(4, 6, 3), (60, 40), interpolation=cv2.INTER_CUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(Image.fromarray(smooth).convert(mode), "JPEG", quality=95, exif=exif)
    expected = shown_by_pillow(file)
    found = read(tmp_path, file)
    assert found.shape == expected.shape == ((60, 40, 3) if orientation > 4 else (40, 60, 3))
    assert np.abs(found.astype(int) - expected).max() <= 4  # another rounding of the same JPEG


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_upright(tmp_path: Path, orientation: int) -> None:
    file = encoded(Image.fromarray(noise(5, 7, 3)), "TIFF", tiffinfo={0x0112: orientation})
    np.testing.assert_array_equal(read(tmp_path, file), shown_by_pillow(file))


def test_transparent_pixels_are_shown_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = (0, 255, 102)  # black: invisible, opaque, two fifths
    for form in ("PNG", "TIFF"):
        found = read(tmp_path, encoded(Image.fromarray(pixels, "RGBA"), form))
        assert found[0].tolist() == [[255] * 3, [0] * 3, [153] * 3]


def test_transparency_of_palettes_and_of_single_values_is_seen(tmp_path: Path) -> None:
    gray = Image.fromarray(np.array([[0, 80, 255]], np.uint8))
    palette = gray.convert("RGB").quantize(3)
    for image, index in ((gray, 80), (palette, np.asarray(palette)[0, 1])):
        found = read(tmp_path, encoded(image, "PNG", transparency=int(index)))
        assert found[0, :, 0].tolist() == [0, 255, 255]


def test_a_gray_tiff_with_transparency_is_refused(tmp_path: Path) -> None:
    file = encoded(Image.fromarray(noise(5, 5)).convert("LA"), "TIFF")
    with pytest.raises(DataError, match=r"image is a gray TIFF file with transparency: save it as"):
        read(tmp_path, file)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_are_scaled_by_the_range_of_the_image(tmp_path: Path, form: str) -> None:
    twelve_bits = np.array([[100, 2147, 4195]], np.uint16)  # from 100 to 4195: steps of 16.06
    found = read(tmp_path, encoded(Image.fromarray(twelve_bits), form))
    assert found[0].tolist() == [[0] * 3, [127] * 3, [255] * 3]


def test_16_bits_of_one_value_or_with_transparency(tmp_path: Path) -> None:
    flat = cv2.imencode(".png", np.full((2, 2), 257 * 40, np.uint16))[1].tobytes()
    assert read(tmp_path, flat)[0, 0].tolist() == [40] * 3
    deep = np.array([[[0, 0, 0, 0], [0, 0, 0, 65535], [900, 900, 900, 65535]]], np.uint16)
    found = read(tmp_path, cv2.imencode(".png", deep)[1].tobytes())
    assert found[0, :, 0].tolist() == [255, 0, 255]


def test_other_numbers_than_of_8_and_16_bits_are_refused(tmp_path: Path) -> None:
    file = encoded(Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)), "TIFF")
    with pytest.raises(DataError, match=r"has pixels of type float32: save it with 8 or 16 bits"):
        read(tmp_path, file)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_pages_or_frames_is_read(tmp_path: Path, form: str) -> None:
    first, second = (Image.fromarray(noise(9, 9, 3, seed=n)).quantize(8) for n in (0, 1))
    options = LOSSLESS[form] | {"save_all": True, "append_images": [second.convert("RGB")]}
    image = first if form == "GIF" else first.convert("RGB")
    file = encoded(image, form, **options)
    np.testing.assert_array_equal(read(tmp_path, file), np.asarray(first.convert("RGB"))[..., ::-1])


@pytest.mark.parametrize("name", ["photo.JFIF", "photo", "photo.txt", "photo.jpg"])
def test_the_name_does_not_matter(tmp_path: Path, name: str) -> None:
    pixels = noise(6, 6, 3)
    found = read(tmp_path, encoded(Image.fromarray(pixels), "PNG"), name)
    np.testing.assert_array_equal(found, pixels[..., ::-1])


def test_heic_needs_a_package_or_is_read_with_it(tmp_path: Path) -> None:
    heic = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(64)
    try:
        import pillow_heif
    except ImportError:
        missing = r"image is a HEIC image: .*pip install 'leansight\[heif\]'"
        with pytest.raises(DataError, match=missing):
            read(tmp_path, heic)
        return
    with pytest.raises(DataError, match="is not an image that pillow-heif can read"):
        read(tmp_path, heic)
    smooth = cv2.resize(noise(3, 4, 3), (64, 48), interpolation=cv2.INTER_CUBIC)
    pillow_heif.from_bytes("RGB", (64, 48), smooth.tobytes()).save(tmp_path / "x", quality=95)
    assert np.abs(read_image(tmp_path / "x").astype(int) - smooth[..., ::-1]).mean() < 4


LIMIT = """
import sys
from pathlib import Path
from leansight.runtime.errors import DataError, MissingExtraError
from leansight.runtime.images import decode_image, read_image
try:
    read_image(Path(sys.argv[1]))
except DataError as error:
    print(error)
print(next(line for line in Path("/proc/self/status").open() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory in /proc")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_an_image_of_too_many_pixels_is_refused_before_it_takes_memory(
    tmp_path: Path, form: str
) -> None:
    options = {"compression": "tiff_lzw"} if form == "TIFF" else {}
    Image.new("L", (10_001, 10_000)).save(tmp_path / "scan", form, **options)
    command = [sys.executable, "-c", LIMIT, str(tmp_path / "scan")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"{tmp_path / 'scan'} has more than 100,000,000 pixels: make it smaller" in said
    assert int(said.split()[-2]) < 250_000  # kB; decoded, the image alone would take 300 MB


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(noise(30, 30, 3)), "PNG").getvalue()
    for data in (b"", whole[:20], b"II*\0" + bytes(4), b"RIFF\0\0\0\0WEBPVP8X"):
        with pytest.raises(DataError, match="image is not an image that OpenCV can read"):
            read(tmp_path, data)


def read_without_opencv(folder: Path, file: io.BytesIO | bytes) -> NDArray[np.uint8]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cv2", None)  # what an import finds of a missing module
        return read(folder, file)


@settings(max_examples=150, deadline=None)
@given(
    mode=st.sampled_from(("L", "RGB")),
    subsampling=st.sampled_from(("4:4:4", "4:2:2", "4:2:0")),
    progressive=st.booleans(),
    quality=st.integers(1, 100),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    orientation=st.integers(1, 8),
    seed=st.integers(0, 1000),
)
def test_pillow_gives_the_pixels_of_a_jpeg_that_opencv_gives(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    mode: str,
    subsampling: str,
    progressive: bool,
    quality: int,
    height: int,
    width: int,
    orientation: int,
    seed: int,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(noise(height, width, 3, seed=seed)).convert(mode)
    chosen = {"subsampling": subsampling} if mode == "RGB" else {}
    file = encoded(
        image, "JPEG", quality=quality, progressive=progressive, exif=exif.tobytes(), **chosen
    )
    folder = tmp_path_factory.mktemp("jpeg")
    np.testing.assert_array_equal(read_without_opencv(folder, file), read(folder, file))


@settings(max_examples=100, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    transparent=st.booleans(),
    orientation=st.integers(1, 8),
    seed=st.integers(0, 1000),
)
def test_pillow_gives_the_pixels_of_a_png_that_opencv_gives(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    mode: str,
    transparent: bool,
    orientation: int,
    seed: int,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    levels = noise(13, 17, seed=seed) // 64 * 64  # some of a colour, to be the transparent one
    image = Image.fromarray(levels, "RGBA").convert(mode)
    level = {"RGB": (64, 64, 64)}.get(mode, 64) if transparent and "A" not in mode else None
    file = encoded(image, "PNG", exif=exif.tobytes(), transparency=level)
    folder = tmp_path_factory.mktemp("png")
    np.testing.assert_array_equal(read_without_opencv(folder, file), read(folder, file))


def test_without_opencv_what_pillow_reads_otherwise_is_refused(tmp_path: Path) -> None:
    four_colours = encoded(Image.fromarray(noise(8, 8), "CMYK"), "JPEG")
    deep = encoded(Image.fromarray(noise(8, 8, 1)[..., 0].astype(np.uint16) * 257), "PNG")
    for file in (four_colours, deep):
        with pytest.raises(DataError, match=r"save it as RGB with 8 bits, or: pip install '"):
            read_without_opencv(tmp_path, file)


def test_without_opencv_a_damaged_file_is_named(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(30, 30, 3))
    for form in ("PNG", "JPEG"):
        whole = encoded(picture, form).getvalue()
        for length in (20, len(whole) // 2):
            with pytest.raises(DataError, match="image is not an image that Pillow can read: "):
                read_without_opencv(tmp_path, whole[:length])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("side", [10_000, 20_000])
def test_without_opencv_an_image_of_too_many_pixels_is_refused(tmp_path: Path, side: int) -> None:
    with pytest.MonkeyPatch.context() as patch:  # Pillow itself refuses to write it
        patch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        scan = encoded(Image.new("L", (side + 1, side)), "JPEG", quality=1)
    with pytest.raises(DataError, match="image has more than 100,000,000 pixels"):
        read_without_opencv(tmp_path, scan)


def test_without_opencv_other_formats_need_it(tmp_path: Path) -> None:
    webp = encoded(Image.fromarray(noise(8, 8, 3)), "WEBP")
    with pytest.raises(MissingExtraError, match=r"^OpenCV is not installed"):
        read_without_opencv(tmp_path, webp)


def test_without_opencv_and_pillow_both_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = encoded(Image.fromarray(noise(8, 8, 3)), "PNG")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"^OpenCV or Pillow .*python3-pil \("):
        read_without_opencv(tmp_path, file)


# Attacks


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


def test_a_folder_is_named_that_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path} cannot be opened: Is a directory"):
        read_image(tmp_path)
