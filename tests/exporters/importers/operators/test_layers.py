"""Layers on lines, and products of matrices of every form, give what ONNX Runtime gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_files import File, numbers, require_like_runtime


def line(file: File) -> File:
    """Make 64 places of 6 features of the image: (1, 6, 64)."""
    file.then("Conv", file.constant(numbers(6, 3, 1, 1)))
    return file.then("Reshape", file.constant([1, 6, 64], np.int64))


LINES: dict[str, Callable[[File], File]] = {
    "maximum": lambda f: f.then("MaxPool", kernel_shape=[3], strides=[2], pads=[1, 1]),
    "mean": lambda f: f.then("AveragePool", kernel_shape=[2], strides=[2]),
    "padded unequally": lambda f: f.then(
        "Conv",
        f.constant(numbers(6, 2, 3)),
        f.constant(numbers(6)),
        group=3,
        pads=[0, 1],
        strides=[2],
    ),
    "padded to its size": lambda f: f.then(
        "Conv", f.constant(numbers(6, 6, 3)), auto_pad="SAME_UPPER"
    ),
    "transposed": lambda f: f.then(
        "ConvTranspose",
        f.constant(numbers(6, 6, 3)),
        strides=[2],
        pads=[1, 1],
        output_padding=[1],
    ),
    "mean of all": lambda f: f.then("GlobalAveragePool"),
    "maximum of all": lambda f: f.then("GlobalMaxPool"),
    "norm": lambda f: f.then(
        "BatchNormalization", *(f.constant(np.abs(numbers(6))) for _ in range(4))
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_a_layer_on_lines_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    file = LINES[name](line(File()))
    file.then("Reshape", file.constant([1, 6, -1, 1], np.int64))
    require_like_runtime(file.classes(6).save(tmp_path))


@pytest.mark.parametrize(
    "padding",
    [
        {"pads": [0, 1, 1, 0]},
        {"pads": [1, 1, 1, 1], "output_padding": [1, 0]},
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
        {"auto_pad": "VALID"},
        {"output_shape": [15, 16]},
        {"output_shape": [15, 15], "auto_pad": "SAME_UPPER"},
    ],
)
def test_a_transposed_convolution_is_cut_as_in_onnx_runtime(
    padding: dict[str, Any], tmp_path: Path
) -> None:
    file = File()
    file.then("ConvTranspose", file.constant(numbers(3, 5, 3, 4)), strides=[2, 2], **padding)
    require_like_runtime(file.classes(5).save(tmp_path))


def rows(file: File, *shape: int) -> File:
    return file.then("Reshape", file.constant(shape, np.int64))


def picture(file: File) -> File:
    return file.then("Reshape", file.constant([1, 6, 8, -1], np.int64))


MATRICES: dict[str, Callable[[File], File]] = {
    "the first transposed": lambda f: rows(f, 6, 64).then(
        "Gemm", f.constant(numbers(6, 6)), f.constant(numbers(6)), transA=1
    ),
    "a summand for each row": lambda f: rows(f, 64, 6).then(
        "Gemm", f.constant(numbers(6, 6)), f.constant(numbers(64, 1)), beta=0.5
    ),
    "a summand for each number": lambda f: rows(f, 6, 64).then(
        "Gemm", f.constant(numbers(64, 64)), f.constant(numbers(6, 64))
    ),
    "one summand": lambda f: rows(f, 64, 6).then(
        "Gemm", f.constant(numbers(6, 6)), f.constant(0.7), alpha=2.0
    ),
    "weights first": lambda f: f.node("MatMul", f.constant(numbers(6, 6)), rows(f, 6, 64).last),
    "weights of three axes": lambda f: rows(f, 6, 8, 8).then(
        "MatMul", f.constant(numbers(6, 8, 8))
    ),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_product_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    require_like_runtime(picture(MATRICES[name](line(File()))).classes(6).save(tmp_path))
