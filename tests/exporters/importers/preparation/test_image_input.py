"""Images of every shape that a file can ask for, held against ONNX Runtime on the file as it is."""

from pathlib import Path

import numpy as np
import pytest
from onnx_files import File, given, numbers, runtime

from leansight.exporters.importers.onnx_reader import read_onnx

SHAPES = [(12, 20), (20, 12), (9, 9)]


def body(file: File, *, last: bool = False) -> File:
    """Two layers that tell height and width apart, and a dense one over all places."""
    if last:
        file.then("Transpose", perm=[0, 3, 1, 2])
    file.then("Conv", file.constant(numbers(4, 3, 3, 1)), strides=[2, 1], pads=[1, 0, 1, 0])
    file.then("Relu").then("ReduceMean", axes=[2], keepdims=0).then("Softsign")
    return file


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", [False, True])
def test_a_file_says_its_own_size(shape: tuple[int, int], tmp_path: Path, *, last: bool) -> None:
    axes = (1, *shape, 3) if last else (1, 3, *shape)
    network = body(File(axes), last=last)
    network.then("Flatten").then("MatMul", network.constant(numbers(4 * shape[1], 5)))
    file = network.save(tmp_path)
    classifier = read_onnx(file, size=None, channels=3)
    assert classifier.size == (shape if shape[0] != shape[1] else shape[0])
    require_like(file, classifier.size, last=last)


@pytest.mark.parametrize("size", [24, (12, 20), (33, 7)])
@pytest.mark.parametrize("last", [False, True])
def test_any_size_becomes_the_one_that_is_asked_for(
    size: int | tuple[int, int], tmp_path: Path, *, last: bool
) -> None:
    axes = ("n", "h", "w", 3) if last else ("n", 3, "h", "w")
    network = body(File(axes), last=last)
    network.then("ReduceMean", axes=[2], keepdims=0)
    file = network.then("MatMul", network.constant(numbers(4, 5))).save(tmp_path)
    require_like(file, size, last=last)


def require_like(file: Path, size: int | tuple[int, int], *, last: bool) -> None:
    """Hold torch, and the file as the classifier runs it, against ONNX Runtime."""
    classifier = read_onnx(file, size=size, channels=3)
    assert classifier.channels_last == last
    height, width = (size, size) if isinstance(size, int) else size
    images = np.random.default_rng(0).normal(size=(3, 3, height, width)).astype(np.float32)
    shown = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if last else images
    exact = runtime(file, shown)
    assert np.ptp(exact, axis=0).max() > 1e-3  # else images would not matter
    np.testing.assert_allclose(given(classifier, images), exact, atol=2e-5)
    ran = classifier.run(images.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(ran, exact, atol=2e-6)
