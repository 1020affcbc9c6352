"""A file's probabilities are the softmax of what is read as its logits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_files import File, numbers, require_like_runtime

from leansight.exporters.importers.preparation.ending import End


def exponentials(file: File, *, shifted: bool) -> File:
    """End in exp(x) / sum(exp(x))."""
    if shifted:
        logits = file.last
        largest = file.then("ReduceMax", axes=[1]).last
        file.node("Sub", logits, largest)
    powers = file.then("Exp").last
    total = file.then("ReduceSum", axes=[1]).last
    return file.node("Div", powers, total)


def of_halves(file: File) -> File:
    """End in the shares of each of two halves of the classes."""
    powers = file.then("Reshape", file.constant([1, 2, 2], np.int64)).then("Exp").last
    file.node("Div", powers, file.then("ReduceSum", axes=[2]).last)
    return file.then("Reshape", file.constant([1, 4], np.int64))


def clipped(file: File, low: float, high: float) -> File:
    if file.opset < 11:
        return file.then("Clip", min=low, max=high)
    return file.then("Clip", file.constant(low), file.constant(high))


ENDS: dict[str, tuple[int, Callable[[File], File], End]] = {
    "written out": (11, lambda f: exponentials(f, shifted=False), "softmax"),
    "written out, less the largest": (11, lambda f: exponentials(f, shifted=True), "softmax"),
    "and clipped to what it is": (11, lambda f: clipped(f.then("Softmax"), 0.0, 1.0), "softmax"),
    "and clipped by an old Clip": (9, lambda f: clipped(f.then("Softmax"), -1.0, 1.0), "softmax"),
    "clipped to less": (11, lambda f: clipped(f.then("Softmax"), 0.1, 1.0), "logits"),
    "clipped to nothing": (11, lambda f: clipped(f.then("LogSoftmax"), -3.0, 1.0), "logits"),
    "a quotient of another sum": (11, of_halves, "logits"),
    "another quotient": (
        11,
        lambda f: f.then("Exp").node("Div", f.last, f.constant(3.0)),
        "logits",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_makes_probabilities_is_left_out(name: str, tmp_path: Path) -> None:
    opset, end, expected = ENDS[name]
    file = File(opset=opset)
    file.then("Conv", file.constant(numbers(6, 3, 3, 3))).classes(6)
    require_like_runtime(end(file).save(tmp_path), end=expected)
