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
    "cubic": (lambda f: weighted(resize(f, 2, 2, mode="cubic"), 3, 16), 3),
    "cubic by corners": (
        lambda f: weighted(
            resize(f, 0.5, 0.5, mode="cubic", coordinate_transformation_mode="align_corners"), 3, 4
        ),
        3,
    ),
    "cubic to a size": (
        lambda f: weighted(
            f.then("Resize", "", "", f.constant([1, 3, 11, 11], np.int64), mode="cubic"), 3, 11
        ),
        3,
    ),
    "bilinear as TensorFlow had it": (
        lambda f: weighted(
            resize(f, 2, 2, mode="linear", coordinate_transformation_mode="asymmetric"), 3, 16
        ),
        3,
    ),
    "nearest, rounded up": (
        lambda f: weighted(
            resize(f, 0.5, 0.5, coordinate_transformation_mode="half_pixel", nearest_mode="ceil"),
            3,
            4,
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


def test_what_puts_numbers_beyond_the_edge_is_refused(tmp_path: Path) -> None:
    beyond = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"}
    file = File().then("Resize", "c0", "c1", extrapolation_value=7.0, **beyond)
    file.constant([0, 0, 0, 0, 1, 1, 2, 2])
    file.constant([1, 1, 1.5, 1.5])
    with pytest.raises(ConversionError, match="linear resizing of tf_crop_and_resize coordinates"):
        read_onnx(file.classes(3).save(tmp_path), size=None, channels=3)


def test_the_number_of_channels_is_not_resized(tmp_path: Path) -> None:
    file = File()
    file.then("Resize", "", file.constant([1, 2, 1, 1]), **LINEAR)
    with pytest.raises(ConversionError, match="only height and width are resized"):
        read_onnx(file.classes(6).save(tmp_path), size=None, channels=3)
