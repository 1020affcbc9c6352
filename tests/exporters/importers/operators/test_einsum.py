"""Sums over products of two give what ONNX Runtime gives."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_files import File, numbers, require_like_runtime

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_reader import read_onnx

SIZES = {"b": 1, "c": 3, "h": 8, "w": 8, "x": 2, "y": 5}


@settings(max_examples=15)
@given(st.data())
def test_a_drawn_sum_gives_what_onnx_runtime_gives(data: st.DataObject) -> None:
    letters = data.draw(st.permutations("bchw"), label="first")
    other = data.draw(
        st.lists(st.sampled_from("chwxy"), min_size=1, max_size=4, unique=True), label="second"
    )
    given_letters = {*letters, *other} - {
        n
        for n in data.draw(st.lists(st.sampled_from("chw"), max_size=3), label="summed")
        if n in other
    }
    result = data.draw(st.permutations(sorted(given_letters)), label="result")
    assume("b" in result and any(n in other for n in "chw"))
    is_constant_first = data.draw(st.booleans(), label="constant first")
    file = File()
    file.then("Transpose", perm=["bchw".index(n) for n in letters])
    constant = file.constant(numbers(*(SIZES[n] for n in other)))
    terms = [("".join(letters), file.last), ("".join(other), constant)]
    (one, first), (two, second) = terms[::-1] if is_constant_first else terms
    file.node("Einsum", first, second, equation=f"{one},{two}->{''.join(result)}")
    file.then("Reshape", file.constant([1, -1], np.int64))
    features = int(np.prod([SIZES[n] for n in result]))
    file.then("Gemm", file.constant(numbers(features, 4) / features))
    with TemporaryDirectory() as folder:
        require_like_runtime(file.save(Path(folder)))


def test_two_pictures_without_an_arrow(tmp_path: Path) -> None:
    file = File().node("Einsum", "image", "image", equation="bchw, bdhw -> bcd")
    file.then("Reshape", file.constant([1, 9], np.int64))
    require_like_runtime(file.then("Gemm", file.constant(numbers(9, 4))).save(tmp_path))
    file = File()
    file.node("Einsum", "image", file.constant(numbers(8, 5)), equation="bchw,wk")
    require_like_runtime(file.classes(3).save(tmp_path))


@pytest.mark.parametrize("equation", ["bchw->bc", "...hw,wk->...hk", "bchw,ck->bk"])
def test_other_sums_are_refused(equation: str, tmp_path: Path) -> None:
    file = File()
    constants = [file.constant(numbers(8, 5))] if "," in equation else []
    constants = [file.constant(numbers(3, 5))] if "ck" in equation else constants
    file.node("Einsum", "image", *constants, equation=equation)
    with pytest.raises(ConversionError, match=r"Einsum_0: .* is not read: only sums over two"):
        read_onnx(file.then("Flatten").save(tmp_path), size=None, channels=3)
