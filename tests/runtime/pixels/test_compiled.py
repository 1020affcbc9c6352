"""prepare.c gives the bytes of OpenCV's way, for every image and all settings."""

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leansight.runtime.pixels import compiled
from leansight.runtime.preprocessing import MAX_ASPECT, Clahe, Fit, Preprocessing

Pixels = NDArray[np.uint8]
PROGRAMS = Path(__file__).parents[2] / "helpers" / "programs"

needs_library = pytest.mark.skipif(
    compiled.library() is None, reason="prepare.c was not compiled when leansight was installed"
)


def within_the_aspect(size: tuple[int, int]) -> tuple[int, int]:
    """Cut the longer side to what a network may have."""
    height, width = (min(side, MAX_ASPECT * min(size)) for side in size)
    return height, width


sides = st.one_of(st.integers(1, 4), st.integers(1, 80), st.integers(1, 700))
lengths = st.one_of(st.integers(1, 4), st.integers(1, 40), st.integers(1, 260))
preprocessings = st.builds(
    Preprocessing,
    size=lengths | st.tuples(lengths, lengths).map(within_the_aspect),
    colour=st.sampled_from(["gray", "rgb"]),
    clahe=st.none()
    | st.builds(
        Clahe,
        clip_limit=st.one_of(st.floats(0.01, 50), st.sampled_from([1e-300, 1e300])),
        tiles=st.integers(1, 20),
    ),
    fit=st.sampled_from(["stretch", "letterbox", "centre-crop"]),
    interpolation=st.sampled_from(["area", "linear", "nearest"]),
    difference_of_gaussians=st.booleans(),
)


def image(height: int, width: int, seed: int) -> Pixels:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    if seed % 2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), 3)
    match seed % 5:
        case 0:
            return np.ascontiguousarray(pixels[..., 0])
        case 1:
            return pixels[::-1, ::-1]
        case _:
            return pixels


def with_opencv(preprocessing: Preprocessing, pixels: Pixels) -> Pixels:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "library", lambda: None)
        return preprocessing(pixels)


def test_it_is_compiled_where_there_is_a_compiler() -> None:
    assert compiled.library() is not None or shutil.which("cc") is None


@needs_library
@settings(max_examples=300, deadline=None)
@given(preprocessings, sides, sides, st.integers(0, 2**32 - 1))
def test_it_gives_the_bytes_of_opencv(
    preprocessing: Preprocessing, height: int, width: int, seed: int
) -> None:
    pixels = image(height, width, seed)
    before = pixels.copy()
    assert np.array_equal(preprocessing(pixels), with_opencv(preprocessing, pixels))
    assert np.array_equal(pixels, before)


@needs_library
@pytest.mark.parametrize("factor", [49, 98, 103, 107, 161, 187, 197, 257, 258, 300])
def test_blocks_that_opencv_does_not_find_whole_are_averaged_alike(factor: int) -> None:
    pixels = image(3 * factor + 2, 2 * factor, 7)
    for colour in ("gray", "rgb"):
        preprocessing = Preprocessing(size=2, colour=colour)
        assert np.array_equal(preprocessing(pixels), with_opencv(preprocessing, pixels))


@needs_library
@pytest.mark.parametrize("size", [(2, 3), (3, 2), (1, 2)])
@pytest.mark.parametrize("fit", ["stretch", "letterbox", "centre-crop"])
def test_blocks_of_unequal_sides_are_averaged_alike(size: tuple[int, int], fit: Fit) -> None:
    for factors in ((2, 1), (1, 2), (2, 2), (49, 98), (258, 3), (3, 300)):
        pixels = image(*(n * side + 1 for n, side in zip(factors, size, strict=True)), 7)
        preprocessing = Preprocessing(size=size, fit=fit)
        assert np.array_equal(preprocessing(pixels), with_opencv(preprocessing, pixels))


@needs_library
def test_the_sum_of_a_whole_photo_does_not_overflow() -> None:
    white = np.full((4096, 4096), 255, np.uint8)
    one = Preprocessing(size=1, colour="gray")
    assert one(white).item() == with_opencv(one, white).item() == 255


@needs_library
@pytest.mark.slow
def test_every_colour_goes_through_cielab_as_with_opencv() -> None:
    codes = np.arange(256**3, dtype=np.uint32).reshape(4096, 4096)
    colours = np.dstack([(codes >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)])
    for tiles, clip_limit in ((1, 1.0), (64, 3.0)):
        preprocessing = Preprocessing(size=4096, clahe=Clahe(tiles=tiles, clip_limit=clip_limit))
        assert np.array_equal(preprocessing(colours), with_opencv(preprocessing, colours))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which the library is looked for."""
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))
    compiled.library.cache_clear()
    yield tmp_path
    compiled.library.cache_clear()


def test_without_the_library_opencv_prepares_in_silence(elsewhere: Path) -> None:
    assert not list(elsewhere.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled.library() is None


def test_a_library_of_another_machine_is_named_and_not_used(elsewhere: Path) -> None:
    (elsewhere / "_prepare.abi3.so").write_bytes(b"of another machine")
    with pytest.warns(UserWarning, match="OpenCV prepares images, more slowly, because of .*abi3"):
        assert compiled.library() is None


def test_a_library_of_another_version_is_not_given_settings_of_this_one(elsewhere: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a compiler")
    (elsewhere / "old.c").write_text("void leansight_begin(void) {}\nint leansight_prepare;\n")
    command = [compiler, "-shared", "-fPIC", elsewhere / "old.c", "-o", elsewhere / "_prepare.so"]
    subprocess.run(command, check=True)
    with pytest.warns(UserWarning, match="OpenCV prepares images, .* leansight_prepare_2"):
        assert compiled.library() is None


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 64), st.integers(1, 8), sides, sides, st.integers(0, 2**32 - 1))
def test_version_1_gives_the_bytes_of_old_bundles(
    size: int, tiles: int, height: int, width: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    for interpolation, flag in (
        ("linear", cv2.INTER_LINEAR_EXACT),
        ("nearest", cv2.INTER_NEAREST_EXACT),
    ):
        new = Preprocessing(
            size=size, colour="gray", interpolation=interpolation, clahe=Clahe(tiles=tiles)
        )
        resized = cv2.resize(pixels, (size, size), interpolation=flag)
        expected = cv2.createCLAHE(2.0, (tiles, tiles)).apply(resized)
        assert np.array_equal(replace(new, version=1)(pixels)[0, ..., 0], expected)


@pytest.mark.slow
def test_no_byte_outside_a_buffer_is_touched(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc and its sanitizers")
    sources = sorted(map(str, Path(compiled.__file__).parent.glob("*.c")))
    library = tmp_path / "checked.so"
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-ffp-contract=off"]
    subprocess.run(
        [compiler, "-O1", "-g", "-shared", "-fPIC", *checks, *sources, "-o", library, "-lm"],
        check=True,
    )
    runtime = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    )
    drawn = subprocess.run(
        [sys.executable, PROGRAMS / "prepare_with_sanitizers.py", library, "0", "3000"],
        env=os.environ | {"LD_PRELOAD": runtime.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert drawn.returncode == 0, drawn.stderr[-3000:]
