"""Functions of each number, and of several tensors, give what ONNX Runtime gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
from onnx_files import File, numbers, require_like_runtime


def joined(kind: str, file: File) -> File:
    return file.node(kind, "image", file.constant(numbers(3, 1, 1)), file.constant(0.2), "image")


@pytest.mark.parametrize("kind", ["Sin", "Cos", "Sign", "Floor", "Ceil", "Round"])
def test_a_function_gives_what_onnx_runtime_gives(kind: str, tmp_path: Path) -> None:
    require_like_runtime(File().then(kind).classes(3).save(tmp_path))


@pytest.mark.parametrize("kind", ["Sum", "Mean", "Max", "Min"])
def test_any_number_of_tensors_is_joined(kind: str, tmp_path: Path) -> None:
    require_like_runtime(joined(kind, File()).classes(3).save(tmp_path))


BOUNDS: dict[str, Callable[[File], File]] = {
    "a bound that comes first": lambda f: f.node("Max", f.constant(0.2), "image"),
    "a bound for each channel": lambda f: f.then("Min", f.constant(numbers(3, 1, 1))),
    "nothing up to a bound": lambda f: f.then("ThresholdedRelu", alpha=0.3),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    require_like_runtime(BOUNDS[name](File()).classes(3).save(tmp_path))
