"""Sums over products of two give what ONNX Runtime gives."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_files import File, numbers, require_like_runtime

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_reader import read_onnx

SIZES = {"b": 1, "c": 3, "h": 8, "w": 8, "x": 2, "y": 5}


@settings(max_examples=25)
@given(st.data())
def test_a_drawn_sum_gives_what_onnx_runtime_gives(data: st.DataObject) -> None:
    letters = data.draw(st.permutations("bchw"), label="first")
    other = data.draw(st.lists(st.sampled_from("chwxy"), max_size=4, unique=True), label="second")
    summed = data.draw(st.lists(st.sampled_from("chwxy"), max_size=3), label="summed")
    result = data.draw(st.permutations(sorted({*letters, *other} - {*summed})), label="result")
    is_constant_first = data.draw(st.booleans(), label="constant first")
    file = File()
    file.then("Transpose", perm=["bchw".index(n) for n in letters])
    terms = [("".join(letters), file.last)]
    if other:
        constant = file.constant(numbers(*(SIZES[n] for n in other)))
        terms.append(("".join(other), constant))
    if is_constant_first:
        terms.reverse()
    taken = ",".join(term for term, _ in terms)
    file.node("Einsum", *(name for _, name in terms), equation=f"{taken}->{''.join(result)}")
    file.then("Reshape", file.constant([1, -1], np.int64))
    features = int(np.prod([SIZES[n] for n in result]))
    file.then("Gemm", file.constant(numbers(features, 4) / features))
    with TemporaryDirectory() as folder:
        require_like_runtime(file.save(Path(folder)))


@pytest.mark.parametrize(
    "equation", ["...hw,wk->...hk", "b...,...->...b", "...w,wk", "...hw->...wh", "b...->...b"]
)
def test_dots_stand_for_the_axes_that_have_no_letter(equation: str, tmp_path: Path) -> None:
    file = File()
    second = numbers(3, 8, 8) if ",..." in equation else numbers(8, 5)
    constants = [file.constant(second)] if "," in equation else []
    file.node("Einsum", "image", *constants, equation=equation)
    file.then("Reshape", file.constant([1, -1], np.int64))
    width = {"...hw,wk->...hk": 120, "...w,wk": 120}.get(equation, 192)
    require_like_runtime(file.then("Gemm", file.constant(numbers(width, 4))).save(tmp_path))


def test_two_pictures_without_an_arrow(tmp_path: Path) -> None:
    file = File().node("Einsum", "image", "image", equation="bchw, bdhw -> bcd")
    file.then("Reshape", file.constant([1, 9], np.int64))
    require_like_runtime(file.then("Gemm", file.constant(numbers(9, 4))).save(tmp_path))
    file = File()
    file.node("Einsum", "image", file.constant(numbers(8, 5)), equation="bchw,wk")
    require_like_runtime(file.classes(3).save(tmp_path))


@pytest.mark.parametrize("equation", ["bchh->bc", "bchw,ww->bc", "bchw,wk,kc->bh"])
def test_other_sums_are_refused(equation: str, tmp_path: Path) -> None:
    file = File()
    constants = [file.constant(numbers(8, 8 if "ww" in equation else 5))] * ("," in equation)
    constants += [file.constant(numbers(5, 3))] * ("kc" in equation)
    file.node("Einsum", "image", *constants, equation=equation)
    with pytest.raises(ConversionError, match=r"Einsum_0: .* is not read: only sums over one"):
        read_onnx(file.then("Flatten").save(tmp_path), size=None, channels=3)
