"""Normalisations give what ONNX Runtime gives, for several images as for one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_files import File, numbers, require_like_runtime


def tokens(file: File) -> File:
    """Make 16 places of 6 features of the image: (1, 16, 6)."""
    file.then("Conv", file.constant(numbers(6, 3, 2, 2)), strides=[2, 2])
    file.then("Reshape", file.constant([0, 6, -1], np.int64))
    return file.then("Transpose", perm=[0, 2, 1])


def back(file: File) -> File:
    file.then("Transpose", perm=[0, 2, 1])
    return file.then("Reshape", file.constant([0, 6, 4, 4], np.int64))


def scales(file: File, *shape: int) -> tuple[str, str]:
    return file.constant(numbers(*shape)), file.constant(numbers(*shape)[::-1].copy())


NORMS: dict[str, tuple[Callable[[File], File], int]] = {
    "of tokens": (lambda f: back(tokens(f).then("LayerNormalization", *scales(f, 6), axis=-1)), 6),
    "without bias": (
        lambda f: back(tokens(f).then("LayerNormalization", f.constant(numbers(6)), epsilon=0.1)),
        6,
    ),
    "of channels that are last": (
        lambda f: (
            f.then("Transpose", perm=[0, 2, 3, 1])
            .then("LayerNormalization", *scales(f, 3))
            .then("Transpose", perm=[0, 3, 1, 2])
        ),
        3,
    ),
    "of the whole picture": (
        lambda f: f.then("LayerNormalization", *scales(f, 3, 8, 8), axis=1),
        3,
    ),
    "of each channel": (
        lambda f: f.then("InstanceNormalization", *scales(f, 3)).then("Relu"),
        3,
    ),
    "of groups of channels": (
        lambda f: (
            f.then("Conv", f.constant(numbers(6, 3, 1, 1)))
            .then("Reshape", f.constant([0, 2, -1], np.int64))
            .then("InstanceNormalization", f.constant([1, 1]), f.constant([0, 0]))
            .then("Reshape", f.constant([0, 6, 8, 8], np.int64))
        ),
        6,
    ),
    "of torch's older exporter": (
        lambda f: back(
            tokens(f)
            .then("ReduceMean", axes=[-1])
            .node("Sub", "t2_0", "t3_0")
            .then("Pow", f.constant(2))
            .then("ReduceMean", axes=[-1])
            .then("Add", f.constant(1e-5))
            .then("Sqrt")
            .node("Div", "t4_0", "t8_0")
            .then("Mul", f.constant(numbers(6)))
            .then("Add", f.constant(numbers(6)))
        ),
        6,
    ),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    build, features = NORMS[name]
    require_like_runtime(build(File()).classes(features).save(tmp_path))


def test_a_group_norm_of_opset_21_is_read(tmp_path: Path) -> None:
    file = File(opset=21)
    file.then("Conv", file.constant(numbers(6, 3, 1, 1)))
    file.then("GroupNormalization", *scales(file, 6), num_groups=3)
    require_like_runtime(file.classes(6).save(tmp_path))


def test_a_norm_over_all_of_an_image_is_read(tmp_path: Path) -> None:
    file = File().then("LayerNormalization", "c0", axis=0)
    file.constant(numbers(1, 3, 8, 8))
    require_like_runtime(file.classes(3).save(tmp_path))


def test_a_norm_without_a_mean_is_read(tmp_path: Path) -> None:
    file = File(opset=23)
    file.then("RMSNormalization", file.constant(numbers(8)), axis=-1, epsilon=1e-3)
    require_like_runtime(file.classes(3).save(tmp_path))


def test_a_norm_over_neighbouring_channels_is_read(tmp_path: Path) -> None:
    file = File().then("LRN", size=3, alpha=0.5, beta=0.7, bias=1.5)
    require_like_runtime(file.classes(3).save(tmp_path))
