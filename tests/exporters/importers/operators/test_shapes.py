"""What moves numbers gives what ONNX Runtime gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_files import File, numbers, require_like_runtime


def ints(file: File, *values: object) -> tuple[str, ...]:
    return tuple(file.constant(value, np.int64) for value in values)


BUILDS: dict[str, tuple[Callable[[File], File], int]] = {
    "turned around": (lambda f: f.then("Slice", *ints(f, [-1], [-99], [3], [-2])), 4),
    "repeated": (lambda f: f.then("Tile", *ints(f, [1, 1, 2, 3])), 24),
    "places of two axes": (
        lambda f: f.then("Gather", *ints(f, [[0, 2], [7, 1]]), axis=3).then(
            "Reshape", *ints(f, [1, 3, 8, 4])
        ),
        4,
    ),
}


@pytest.mark.parametrize("name", BUILDS)
def test_numbers_are_moved_as_onnx_runtime_does(name: str, tmp_path: Path) -> None:
    build, width = BUILDS[name]
    file = build(File())
    file.then("Mul", file.constant(numbers(1, 1, 1, width)))
    require_like_runtime(file.classes(3).save(tmp_path))


def test_the_edge_of_a_picture_of_tokens_is_repeated(tmp_path: Path) -> None:
    file = File()
    file.then("Conv", file.constant(numbers(6, 3, 1, 1)))
    file.then("Reshape", *ints(file, [1, 6, 64])).then("Transpose", perm=[0, 2, 1])
    file.then("MatMul", file.constant(numbers(6, 6))).then("Transpose", perm=[0, 2, 1])
    file.then("Reshape", *ints(file, [1, 6, 8, 8]))
    file.then("Pad", *ints(file, [0, 0, 1, 2, 0, 0, 0, 1]), mode="edge")
    file.then("Mul", file.constant(numbers(1, 1, 9, 11)))
    require_like_runtime(file.classes(6).save(tmp_path))


def test_padding_may_name_its_axes(tmp_path: Path) -> None:
    file = File(opset=18)
    pads, axes = ints(file, [1, 0, 0, 2], [3, 2])
    file.then("Pad", pads, file.constant(0.5), axes).then(
        "Mul", file.constant(numbers(1, 1, 10, 9))
    )
    require_like_runtime(file.classes(3).save(tmp_path))


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("parts", ["ca", "ac", "aca", "ccaac", "cacacc"])
def test_constants_may_be_anywhere_in_a_concatenation(
    parts: str, axis: int, tmp_path: Path
) -> None:
    file = File()
    shape = [1, 3, 8, 8]
    computed = file.then("Transpose", perm=[0, 1, 3, 2]).last
    names, length = [], 0
    for number, part in enumerate(parts):
        constant = [*shape]
        constant[axis] = number + 1
        names.append(computed if part == "a" else file.constant(numbers(*constant)))
        length += shape[axis] if part == "a" else number + 1
    shape[axis] = length
    file.node("Concat", *names, axis=axis).then("Mul", file.constant(numbers(*shape)))
    require_like_runtime(file.classes(shape[1]).save(tmp_path))
