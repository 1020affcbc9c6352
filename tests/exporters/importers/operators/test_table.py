"""Each operator that is read gives what ONNX Runtime gives."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from onnx_files import File, given, numbers, pictures, require_like_runtime, runtime

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_reader import read_onnx


def both_halves(file: File) -> File:
    file.then("Split", file.constant([1, 2], np.int64), outputs=2, axis=1)
    return file.node("Concat", "t0_1", "t0_0", axis=1)


def repeated_in_a_product(file: File) -> File:
    """One channel times three, then a number for each: what it repeats comes first."""
    file.then("ReduceMean", axes=[1], keepdims=1)
    return file.node("Mul", file.last, "image").then("Add", file.constant(numbers(1, 3, 1, 1)))


def chosen(kind: str, file: File) -> File:
    """As torch writes softplus: another function beyond a bound."""
    condition = file.node(kind, "image", file.constant(0.1)).last
    other = file.node("Exp", "image").last
    return file.node("Where", condition, "image", other)


def gated(file: File) -> File:
    file.then("Sigmoid").then("GlobalAveragePool")
    return file.node("Mul", "image", file.last)


OPERATORS: dict[str, tuple[Callable[[File], File], int]] = {
    "padded unequally": (
        lambda f: f.then("Conv", f.constant(numbers(5, 3, 3, 3)), pads=[0, 1, 2, 1]),
        5,
    ),
    "same, even": (
        lambda f: f.then(
            "Conv",
            f.constant(numbers(6, 1, 3, 3)),
            f.constant(numbers(6)),
            auto_pad="SAME_UPPER",
            strides=[2, 2],
            group=3,
        ),
        6,
    ),
    "same, lower": (
        lambda f: f.then("MaxPool", auto_pad="SAME_LOWER", kernel_shape=[3, 3], strides=[2, 2]),
        3,
    ),
    "dilated": (
        lambda f: f.then("Conv", f.constant(numbers(4, 3, 3, 3)), dilations=[2, 1], pads=[1] * 4),
        4,
    ),
    "maximum of negatives": (
        lambda f: f.then("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
        3,
    ),
    "maximum after ReLU": (
        lambda f: f.then("Relu").then("MaxPool", kernel_shape=[3, 3], pads=[0, 1, 1, 0]),
        3,
    ),
    "maximum rounded up": (
        lambda f: f.then("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        3,
    ),
    "mean without padding": (
        lambda f: f.then("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        3,
    ),
    "mean with padding": (
        lambda f: f.then(
            "AveragePool", kernel_shape=[3, 3], pads=[0, 0, 1, 1], count_include_pad=1
        ),
        3,
    ),
    "one maximum": (lambda f: f.then("GlobalMaxPool"), 3),
    "batch norm": (
        lambda f: f.then(
            "BatchNormalization",
            *(f.constant(v) for v in (numbers(3), numbers(3), numbers(3), [0.5, 1, 2])),
            epsilon=1e-3,
        ),
        3,
    ),
    "batch norm of channels last": (
        lambda f: (
            f.then("Transpose", perm=[0, 2, 3, 1])
            .then("Mul", f.constant(numbers(3)))
            .then("Sub", f.constant(numbers(1, 1, 1, 3)))
            .then("Sigmoid")
            .then("Transpose", perm=[0, 3, 1, 2])
        ),
        3,
    ),
    "a number before and after": (
        lambda f: (
            f.node("Sub", f.constant(1), f.last)
            .then("Div", f.constant(0.5))
            .then("Tanh")
            .node("Sub", f.constant([2]), "t2_0")
            .then("Mul", f.constant(3))
        ),
        3,
    ),
    "one for each pixel": (lambda f: f.then("Add", f.constant(numbers(8, 8))), 3),
    "clipped": (lambda f: f.then("Clip", f.constant(-0.2), f.constant(0.7)), 3),
    "clipped below": (lambda f: f.then("Clip", f.constant(-0.2)), 3),
    "hard sigmoid": (lambda f: f.then("HardSigmoid", alpha=0.2, beta=0.4), 3),
    "hard sigmoid of torch": (lambda f: f.then("HardSigmoid", alpha=1 / 6, beta=0.5), 3),
    "hard swish": (lambda f: f.then("HardSwish"), 3),
    "hard swish as Keras writes it": (
        lambda f: (
            f.then("Add", f.constant(3))
            .then("Clip", f.constant(0), f.constant(6))
            .then("Mul", f.constant(1 / 6))
            .node("Mul", "image", "t2_0")
        ),
        3,
    ),
    "leaky": (lambda f: f.then("LeakyRelu", alpha=0.3), 3),
    "elu": (lambda f: f.then("Elu", alpha=0.5), 3),
    "prelu": (lambda f: f.then("PRelu", f.constant(numbers(3, 1, 1))), 3),
    "error function": (lambda f: f.then("Mul", f.constant(3)).then("Erf"), 3),
    "powers": (lambda f: f.then("Pow", f.constant(2)).then("Sqrt").then("Pow", f.constant(3)), 3),
    "exponential": (lambda f: f.then("Exp").then("Reciprocal").then("Log").then("Neg"), 3),
    "softplus": (lambda f: f.then("Softplus").then("Softsign"), 3),
    **{
        f"{kind} chooses": (partial(chosen, kind), 3)
        for kind in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    },
    "selu as torch writes it": (
        lambda f: f.then("Selu", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
        3,
    ),
    "selu": (lambda f: f.then("Selu").then("Celu", alpha=0.7).then("Abs"), 3),
    "a number over pixels": (
        lambda f: f.then("Exp").node("Div", f.constant(numbers(3, 1, 1)), f.last),
        3,
    ),
    "the larger of two": (
        lambda f: f.then("Sigmoid").node("Max", "image", f.last).then("Min", f.constant(0.6)),
        3,
    ),
    "every second": (
        lambda f: f.then(
            "Slice",
            f.constant([1, 0], np.int64),
            f.constant([99, 7], np.int64),
            f.constant([2, 3], np.int64),
            f.constant([2, 3], np.int64),
        ),
        3,
    ),
    "largest of rows": (
        lambda f: (
            f.then("ReduceMax", axes=[3], keepdims=0)
            .then("ReduceL2", axes=[2], keepdims=0)
            .then("Reshape", f.constant([1, 3, 1, 1], np.int64))
            .then("Expand", f.constant([1, 3, 2, 5], np.int64))
        ),
        3,
    ),
    "sums": (lambda f: f.then("ReduceSum", f.constant([3], np.int64)), 3),
    "reflected": (
        lambda f: f.then("Pad", f.constant([0, 0, 1, 2, 0, 0, 0, 3], np.int64), mode="reflect"),
        3,
    ),
    "the edge": (
        lambda f: f.then("Pad", f.constant([0, 0, 1, 2, 0, 0, 0, 3], np.int64), mode="edge"),
        3,
    ),
    "transposed convolution": (
        lambda f: f.then(
            "ConvTranspose",
            f.constant(numbers(3, 5, 3, 3)),
            f.constant(numbers(5)),
            strides=[2, 2],
            pads=[1, 1, 1, 1],
            output_padding=[1, 1],
        ),
        5,
    ),
    "gate": (gated, 3),
    "halves": (both_halves, 3),
    "slice": (
        lambda f: f.then(
            "Slice",
            f.constant([1, -5], np.int64),
            f.constant([3, 99], np.int64),
            f.constant([1, 2], np.int64),
        ),
        2,
    ),
    "padding": (
        lambda f: f.then("Pad", f.constant([0, 1, 2, 0, 0, 0, 0, 3], np.int64), f.constant(0.5)),
        4,
    ),
    "mean over height": (
        lambda f: (
            f.then("Transpose", perm=[0, 2, 3, 1])
            .then("ReduceMean", axes=[1], keepdims=0)
            .then("Unsqueeze", f.constant([1], np.int64))
            .then("Transpose", perm=[0, 3, 1, 2])
        ),
        3,
    ),
    "one value of all channels, scaled and shifted for each": (
        lambda f: (
            f.then("ReduceMean", axes=[1], keepdims=1)
            .then("Mul", f.constant(numbers(1, 5, 1, 1)))
            .then("Add", f.constant(numbers(1, 5, 1, 1)))
        ),
        5,
    ),
    "repeated in a product": (repeated_in_a_product, 3),
    "repeated by ones and zeros": (
        lambda f: (
            f.then("ReduceMean", axes=[1], keepdims=1)
            .then("Mul", f.constant(np.ones((1, 5, 1, 1))))
            .then("Add", f.constant(numbers(1, 5, 1, 1)))
            .then("ReduceMean", axes=[1], keepdims=1)
            .then("Add", f.constant(np.zeros((1, 5, 1, 1))))
            .then("Mul", f.constant(numbers(1, 5, 1, 1)))
        ),
        5,
    ),
    "repeated, channels last": (
        lambda f: (
            f.then("ReduceMean", axes=[1], keepdims=1)
            .then("Transpose", perm=[0, 2, 3, 1])
            .then("Sub", f.constant(numbers(8, 1, 5)))
            .then("Transpose", perm=[0, 3, 1, 2])
        ),
        5,
    ),
    "repeated features": (
        lambda f: (
            f.then("ReduceMean", axes=[1, 2, 3], keepdims=1)
            .then("Reshape", f.constant([1, 1], np.int64))
            .then("Mul", f.constant(numbers(1, 5)))
            .then("Reshape", f.constant([1, 5, 1, 1], np.int64))
        ),
        5,
    ),
    "shuffled channels": (
        lambda f: (
            f.then("Conv", f.constant(numbers(6, 3, 1, 1)))
            .then("Reshape", f.constant([0, 2, 3, 8, -1], np.int64))
            .then("Transpose", perm=[0, 2, 1, 3, 4])
            .then("Reshape", f.constant([1, 6, 8, 8], np.int64))
        ),
        6,
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    build, features = OPERATORS[name]
    file = build(File()).classes(features).save(tmp_path)
    classifier = read_onnx(file, size=None, channels=3)
    images = pictures(3, 8)
    exact = runtime(file, images)
    np.testing.assert_allclose(given(classifier, images), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (7, 10)])
@pytest.mark.parametrize("kernel", [2, 3])
def test_a_mean_leaves_out_padding_of_unequal_sides(
    size: tuple[int, int], kernel: int, tmp_path: Path
) -> None:
    """As TensorFlow's SAME pads an average pooling with a stride."""
    network = File((1, 3, *size))
    network.then("Conv", network.constant(numbers(4, 3, 1, 1)))
    network.then(
        "AveragePool", kernel_shape=[kernel] * 2, strides=[2, 2], auto_pad="SAME_UPPER"
    ).then("Softsign")
    file = network.classes(4).save(tmp_path)
    classifier = read_onnx(file, size=None, channels=3)
    images = np.random.default_rng(0).normal(size=(3, 3, *size)).astype(np.float32)
    np.testing.assert_allclose(given(classifier, images), runtime(file, images), atol=2e-5)


def test_a_mean_with_more_padding_before_than_after_is_refused(tmp_path: Path) -> None:
    network = File()
    network.then("AveragePool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER")
    with pytest.raises(ConversionError, match="leaves out more padding before than after"):
        read_onnx(network.classes(3).save(tmp_path), size=None, channels=3)


def test_a_slice_over_the_axis_of_the_images_takes_all_of_them(tmp_path: Path) -> None:
    """As tf2onnx writes Cropping2D."""
    network = File()
    starts, ends, axes = ([0, 0, 1, 1], [2**31 - 1, 2**31 - 1, 7, 8], [0, 1, 2, 3])
    network.then("Slice", *(network.constant(values, np.int64) for values in (starts, ends, axes)))
    require_like_runtime(network.then("Softsign").classes(3).save(tmp_path))
