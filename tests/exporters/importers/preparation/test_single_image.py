"""Networks for several images at once, held against ONNX Runtime with so many images at once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx_files import File, given, numbers

from leansight.exporters.importers.onnx_reader import read_onnx

BATCH = 4


def flattened() -> File:
    file = File((BATCH, 3, 6, 8))
    file.then("Reshape", file.constant([BATCH, 144], np.int64))
    return file.then("MatMul", file.constant(numbers(144, 5)))


def with_the_rest() -> File:
    file = File((BATCH, 3, 6, 8))
    file.then("Reshape", file.constant([-1, 144], np.int64))
    return file.then("MatMul", file.constant(numbers(144, 5)))


def with_tokens() -> File:
    """A class token for each image, and a place for each token."""
    file = File((BATCH, 3, 6, 8))
    file.then("Reshape", file.constant([BATCH, 3, 48], np.int64)).then("Transpose", perm=[0, 2, 1])
    token = file.constant(np.repeat(numbers(1, 1, 3), BATCH, 0))
    file.node("Concat", token, file.last, axis=1)
    file.then("Add", file.constant(np.repeat(numbers(1, 49, 3), BATCH, 0))).then("Tanh")
    file.then("ReduceMean", axes=[1], keepdims=0)
    return file.then("MatMul", file.constant(numbers(3, 5)))


def in_windows() -> File:
    """As Swin cuts a picture: the windows of an image follow each other."""
    file = File((BATCH, 3, 6, 8))
    file.then("Reshape", file.constant([BATCH, 3, 2, 3, 2, 4], np.int64))
    file.then("Transpose", perm=[0, 2, 4, 3, 5, 1])
    file.then("Reshape", file.constant([BATCH * 4, 12, 3], np.int64))
    file.then("MatMul", file.constant(numbers(3, 3))).then("Relu")
    file.then("Reshape", file.constant([BATCH, 144], np.int64))
    return file.then("MatMul", file.constant(numbers(144, 5)))


def enlarged() -> File:
    file = File((BATCH, 3, 6, 8))
    sizes = file.constant([BATCH, 3, 12, 16], np.int64)
    places = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    file.then("Resize", "", "", sizes, mode="nearest", **places)
    file.then("Conv", file.constant(numbers(4, 3, 3, 3))).then("Relu")
    return file.classes(4, 5)


def places_first() -> File:
    """As torch has attention: places before images, which heads follow; rows of all places."""
    file = File((BATCH, 3, 4, 8))
    file.then("Reshape", file.constant([BATCH, 3, 32], np.int64)).then("Transpose", perm=[2, 0, 1])
    file.then("MatMul", file.constant(numbers(3, 8)))
    file.then("Reshape", file.constant([32, BATCH * 2, 4], np.int64))
    heads = file.then("Transpose", perm=[1, 0, 2]).last
    file.then("Transpose", perm=[0, 2, 1]).node("MatMul", heads, file.last).then("Softmax", axis=-1)
    file.then("MatMul", heads).then("Transpose", perm=[1, 0, 2])
    file.then("Reshape", file.constant([32 * BATCH, 8], np.int64))
    file.then("MatMul", file.constant(numbers(8, 3)))
    file.then("Reshape", file.constant([32, BATCH, 3], np.int64)).then("ReduceMean", axes=[0])
    file.then("Reshape", file.constant([BATCH, 3], np.int64))
    return file.then("MatMul", file.constant(numbers(3, 5)))


BUILDS = [flattened, with_the_rest, with_tokens, in_windows, enlarged, places_first]


@pytest.mark.parametrize("build", BUILDS)
def test_each_image_gets_what_it_gets_among_others(
    build: Callable[[], File], tmp_path: Path
) -> None:
    file = build().save(tmp_path)
    images = np.random.default_rng(0).normal(size=(6, *build().shape[1:])).astype(np.float32)
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    padded = np.concatenate([images, images[:2]])
    exact = np.concatenate([session.run(None, {"image": p})[0] for p in (padded[:4], padded[4:])])
    classifier = read_onnx(file, size=None, channels=3)
    assert classifier.notes == (f"takes {BATCH} images at once, and is read for one",)
    np.testing.assert_allclose(given(classifier, images), exact[:6], atol=1e-4)
    np.testing.assert_allclose(given(classifier, images[:1]), exact[:1], atol=1e-4)
    done: list[int] = []
    ran = classifier.run(images.transpose(0, 2, 3, 1), done.append)
    np.testing.assert_allclose(ran, exact[:6], atol=1e-5)
    assert done == [4, 6]
