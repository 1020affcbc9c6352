"""What is written to a part of a tensor is what ONNX Runtime writes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_files import File, numbers, require_like_runtime

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_reader import read_onnx

SHAPE = (1, 3, 8, 8)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[slice, ...]:
    """Give a part of some first axes of a picture."""
    cuts = []
    for length in SHAPE[: draw(st.integers(1, 4))]:
        start = draw(st.integers(0, length - 1))
        cuts.append(slice(start, draw(st.integers(start + 1, length))))
    return tuple(cuts)


@given(
    box=boxes(),
    kind=st.sampled_from(["computed", "constants", "to constants"]),
    counts_backwards=st.booleans(),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_part_is_written_as_onnx_runtime_does(
    tmp_path: Path, *, box: tuple[slice, ...], kind: str, counts_backwards: bool
) -> None:
    file = File()
    places = np.stack(np.meshgrid(*(np.r_[cut] for cut in box), indexing="ij"), -1)
    indices = file.constant(places - counts_backwards * np.array(SHAPE[: len(box)]), np.int64)
    if kind == "constants":
        given_values = file.constant(numbers(*np.zeros(SHAPE)[box].shape))
    else:
        ends = [file.constant([getattr(c, e) for c in box], np.int64) for e in ("start", "stop")]
        file.node("Slice", "image", *ends).then("Abs")
        given_values = file.last
    whole = file.constant(numbers(*SHAPE)) if kind == "to constants" else "image"
    file.node("ScatterND", whole, indices, given_values)
    file.then("Mul", file.constant(numbers(*SHAPE) + 1))
    # An image of which nothing is left is no classifier's.
    file.node("Add", file.last, "image").classes(3)
    require_like_runtime(file.save(tmp_path))


@pytest.mark.parametrize(
    ("places", "reduction", "why"),
    [
        ([[[0, 0]], [[0, 2]]], "none", "places that follow each other"),
        ([[[0, 0]], [[0, 1]]], "add", "only an assignment is read"),
    ],
)
def test_what_is_no_assignment_to_a_part_is_refused_by_name(
    tmp_path: Path, places: list[list[list[int]]], reduction: str, why: str
) -> None:
    file = File(opset=16)
    indices = file.constant(places, np.int64)
    values = file.constant(numbers(2, 1, 8, 8))
    file.node("ScatterND", "image", indices, values, reduction=reduction).classes(3)
    with pytest.raises(ConversionError, match=rf"ScatterND .*{why}"):
        read_onnx(file.save(tmp_path), size=None, channels=3)
