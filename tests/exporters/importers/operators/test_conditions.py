"""Comparisons, what joins them and choices by them give what ONNX Runtime gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto
from onnx_files import File, numbers, require_like_runtime


def outside(file: File) -> File:
    """Take nothing between two bounds, as torch writes a hard shrink."""
    above = file.node("Greater", "image", file.constant(0.1)).last
    below = file.node("Less", "image", file.constant(-0.2)).last
    inside = file.node("Or", above, below).then("Not").last
    return file.node("Where", inside, file.constant(0.0), "image")


def between(file: File) -> File:
    """Join two comparisons with a constant for each place, and choose between constants."""
    above = file.node("GreaterOrEqual", "image", file.constant(numbers(3, 8, 8))).last
    below = file.node("LessOrEqual", file.constant(0.3), "image").last
    both = file.node("And", above, below).last
    one = file.node("Xor", above, both).last
    return file.node("Where", one, file.constant(0.5), file.constant(numbers(3, 1, 1)))


def masked(file: File) -> File:
    """Leave out places that a constant names."""
    mask = file.constant(numbers(1, 3, 8, 8) > 0, bool)
    return file.node("Where", mask, "image", file.constant(-1.0))


def two_pictures(file: File) -> File:
    """Compare pictures whose axes are in another order than the file's."""
    file.then("Transpose", perm=[0, 2, 3, 1])
    turned = file.last
    doubled = file.then("Exp").last
    larger = file.node("Greater", turned, doubled).last
    file.node("Where", larger, turned, doubled)
    return file.then("Transpose", perm=[0, 3, 1, 2])


def equal(file: File) -> File:
    rounded = file.node("Floor", "image").last
    same = file.node("Equal", rounded, file.constant(0.0)).last
    return file.node("Where", same, "image", rounded)


def gated(file: File) -> File:
    """Multiply by a comparison as a number, turned and back."""
    file.node("Greater", "image", file.constant(0.1)).then("Transpose", perm=[0, 2, 3, 1])
    file.then("Cast", to=TensorProto.FLOAT).then("Transpose", perm=[0, 3, 1, 2])
    return file.node("Mul", file.last, "image")


BUILDS: dict[str, Callable[[File], File]] = {
    "outside of two bounds": outside,
    "between constants": between,
    "a constant condition": masked,
    "pictures turned": two_pictures,
    "equal": equal,
    "a comparison as a number": gated,
}


@pytest.mark.parametrize("name", BUILDS)
def test_a_choice_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    require_like_runtime(BUILDS[name](File()).classes(3).save(tmp_path))
