"""Images made larger and smaller without weights are what ONNX Runtime makes of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_files import File, numbers, require_like_runtime

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_reader import read_onnx


def resize(file: File, *factors: float, **attributes: str) -> File:
    return file.then("Resize", "", file.constant([1, 1, *factors]), **attributes)


def weighted(file: File, channels: int, size: int) -> File:
    """Let each place count differently, so that no order of places gives the same means."""
    return file.then("Mul", file.constant(numbers(1, channels, size, size)))


ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
LINEAR = {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}
RESIZING: dict[str, tuple[Callable[[File], File], int]] = {
    "nearest as torch writes it": (lambda f: weighted(resize(f, 2, 2, **ASYMMETRIC), 3, 16), 3),
    "nearest, smaller": (lambda f: weighted(resize(f, 0.5, 0.5, **ASYMMETRIC), 3, 4), 3),
    "nearest by default": (lambda f: weighted(resize(f, 3, 3), 3, 24), 3),
    "bilinear": (lambda f: weighted(resize(f, 2, 2, **LINEAR), 3, 16), 3),
    "bilinear, smaller": (lambda f: weighted(resize(f, 0.5, 0.5, **LINEAR), 3, 4), 3),
    "bilinear by corners": (
        lambda f: weighted(
            resize(f, 2, 2, mode="linear", coordinate_transformation_mode="align_corners"), 3, 16
        ),
        3,
    ),
    "depth to space": (
        lambda f: weighted(
            f.then("Conv", f.constant(numbers(8, 3, 1, 1))).then("DepthToSpace", blocksize=2), 2, 16
        ),
        2,
    ),
    "depth to space as torch has it": (
        lambda f: weighted(
            f.then("Conv", f.constant(numbers(8, 3, 1, 1))).then(
                "DepthToSpace", blocksize=2, mode="CRD"
            ),
            2,
            16,
        ),
        2,
    ),
    "space to depth": (lambda f: weighted(f.then("SpaceToDepth", blocksize=2), 12, 4), 12),
}


@pytest.mark.parametrize("name", RESIZING)
def test_an_image_is_resized_as_onnx_runtime_does(name: str, tmp_path: Path) -> None:
    build, features = RESIZING[name]
    require_like_runtime(build(File()).classes(features).save(tmp_path))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"mode": "cubic"}, "cubic resizing of half_pixel coordinates is not read"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, "nearest resizing of tf_crop"),
    ],
)
def test_other_ways_of_resizing_are_refused(
    attributes: dict[str, str], message: str, tmp_path: Path
) -> None:
    file = File().then("Resize", "c0", "c1", **attributes)
    file.constant(np.zeros(8))
    file.constant([1, 1, 1.5, 1.5])
    with pytest.raises(ConversionError, match=message):
        read_onnx(file.classes(3).save(tmp_path), size=None, channels=3)
