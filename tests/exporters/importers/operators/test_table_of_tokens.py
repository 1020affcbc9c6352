"""Attention over places of an image gives what ONNX Runtime gives, for several images too."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_files import File, numbers, require_like_runtime

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_reader import read_onnx
from leansight.exporters.importers.operators.table import OPERATORS


def tokens(file: File) -> File:
    """Make 16 places of 6 features of the image: (1, 16, 6)."""
    file.then("Conv", file.constant(numbers(6, 3, 2, 2)), strides=[2, 2])
    file.then("Reshape", file.constant([1, 6, -1], np.int64))
    return file.then("Transpose", perm=[0, 2, 1])


def places(file: File) -> File:
    """End in the mean of places, and a dense layer."""
    file.then("ReduceMean", axes=[1], keepdims=0)
    return file.then("Gemm", file.constant(numbers(6, 4)), file.constant(numbers(4)))


def attention(file: File) -> File:
    """Let two heads of 3 features look at all places, as timm writes it."""
    tokens(file).then("MatMul", file.constant(numbers(6, 18))).then(
        "Add", file.constant(numbers(18))
    )
    file.then("Reshape", file.constant([1, 16, 3, 2, 3], np.int64))
    file.then("Transpose", perm=[2, 0, 3, 1, 4])
    heads = file.last
    for index in range(3):
        file.node("Gather", heads, file.constant(index, np.int64), axis=0)
    query, key, value = (f"t{len(file.nodes) - n}_0" for n in (3, 2, 1))
    file.node("Transpose", key, perm=[0, 1, 3, 2]).node("MatMul", query, file.last)
    file.then("Mul", file.constant(3**-0.5)).then("Softmax", axis=-1).then("MatMul", value)
    file.then("Transpose", perm=[0, 2, 1, 3]).then("Reshape", file.constant([1, 16, 6], np.int64))
    return file.then("MatMul", file.constant(numbers(6, 6)))


def windows(file: File) -> File:
    """Let places look at those of their own quarter of the image, as Swin does."""
    file.then("Conv", file.constant(numbers(6, 3, 2, 2)), strides=[2, 2])
    file.then("Transpose", perm=[0, 2, 3, 1])
    file.then("Reshape", file.constant([1, 2, 2, 2, 2, 6], np.int64))
    file.then("Transpose", perm=[0, 1, 3, 2, 4, 5])
    file.then("Reshape", file.constant([4, 4, 6], np.int64))
    own = file.last
    file.then("Transpose", perm=[0, 2, 1]).node("MatMul", own, file.last).then("Softmax")
    file.then("MatMul", own)
    file.then("Reshape", file.constant([1, 4, 4, 6], np.int64))
    mask = file.constant(numbers(1, 4, 1, 1))
    return file.then("Add", mask).then("Reshape", file.constant([1, 16, 6], np.int64))


def with_class_token(file: File) -> File:
    tokens(file).node("Concat", file.constant(numbers(1, 1, 6)), file.last, axis=1)
    file.then("Add", file.constant(numbers(1, 17, 6)))
    return file.then("Mul", file.constant(numbers(1, 17, 1)))


def between_constants(file: File) -> File:
    first, last = file.constant(numbers(1, 2, 6)), file.constant(numbers(1, 1, 6))
    tokens(file).node("Concat", first, file.last, last, axis=1)
    return file.then("Mul", file.constant(numbers(1, 19, 1)))


def one_place(file: File) -> File:
    """Take the last place alone, and give it its axis back."""
    tokens(file).then("Gather", file.constant(-1, np.int64), axis=1)
    return file.then("Unsqueeze", file.constant([1], np.int64))


def chosen_places(file: File) -> File:
    return tokens(file).then("Gather", file.constant([5, 0, 9], np.int64), axis=1)


def mixed_places(file: File) -> File:
    """Let a dense layer go over places instead of features."""
    tokens(file).then("Transpose", perm=[0, 2, 1]).then("MatMul", file.constant(numbers(16, 16)))
    return file.then("Transpose", perm=[0, 2, 1])


def gated(file: File) -> File:
    """Weigh channels by a convolution over them, as ECA does."""
    tokens(file).then("ReduceMean", axes=[1])
    file.then("Conv", file.constant(numbers(1, 1, 3)), pads=[1, 1]).then("Sigmoid")
    return file.node("Mul", "t2_0", file.last)


def places_first(file: File) -> File:
    """Put places before images, and heads on the axis of images, as torch's own attention does."""
    tokens(file).then("Transpose", perm=[1, 0, 2])
    file.then("Reshape", file.constant([16, 2, 3], np.int64)).then("Transpose", perm=[1, 0, 2])
    heads = file.last
    file.then("Transpose", perm=[0, 2, 1]).node("MatMul", heads, file.last).then("Softmax")
    file.then("MatMul", heads).then("Transpose", perm=[1, 0, 2])
    file.then("Reshape", file.constant([16, 6], np.int64)).then(
        "MatMul", file.constant(numbers(6, 6))
    )
    file.then("Reshape", file.constant([16, 1, 6], np.int64))
    return file.then("Transpose", perm=[1, 0, 2])


def softmax_over_one(file: File) -> File:
    """Take a softmax over the axis of images, which all are 1 of."""
    one = tokens(file).last
    file.then("Softmax", axis=0)
    return file.node("Mul", one, file.last)


def channels_on_the_first_axis(file: File) -> File:
    """Put channels where the images are, and back, as MobileViT does with one window of places."""
    file.then("Conv", file.constant(numbers(6, 3, 2, 2)), strides=[2, 2])
    file.then("Reshape", file.constant([6, 1, 4, 4], np.int64)).then("Sigmoid")
    file.then("Transpose", perm=[1, 0, 2, 3]).then("Conv", file.constant(numbers(6, 6, 1, 1)))
    file.then("Reshape", file.constant([1, 6, 16], np.int64))
    return file.then("Transpose", perm=[0, 2, 1])


BUILDS: dict[str, Callable[[File], File]] = {
    "attention": attention,
    "windows": windows,
    "a class token": with_class_token,
    "constants on both sides": between_constants,
    "one place": one_place,
    "chosen places": chosen_places,
    "a layer over places": mixed_places,
    "a convolution along one axis": gated,
    "channels on the first axis": channels_on_the_first_axis,
    "places on the first axis": places_first,
    "a softmax over the axis of images": softmax_over_one,
}


@pytest.mark.parametrize("name", BUILDS)
def test_tokens_give_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    require_like_runtime(places(BUILDS[name](File())).save(tmp_path))


def test_a_node_that_onnx_runtime_made_is_called_as_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # ONNX Runtime makes a reshape, a Gemm and a reshape of the product and the sum.
    file = tokens(File()).then("Transpose", perm=[1, 2, 0])
    file.then("MatMul", file.constant(numbers(1, 4))).then("Add", file.constant(numbers(4)))
    file.then("ReduceMean", axes=[0, 1], keepdims=0)
    monkeypatch.delitem(OPERATORS, "Gemm")
    with pytest.raises(ConversionError, match=r"f\.onnx has the operator Add \(the_Add_5\)"):
        read_onnx(file.save(tmp_path), size=None, channels=3)
