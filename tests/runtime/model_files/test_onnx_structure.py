"""Is an ONNX file refused that loops, reads other files, or counts where it must not?"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_models
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from leansight.runtime.model_files.onnx_structure import check_onnx

MODEL = tiny_models.stripes_onnx()


def changed(change: Callable[[Any], object]) -> bytes:
    """Return the file after a change of its objects."""
    model = onnx.load_model_from_string(MODEL)
    change(model)
    return model.SerializeToString()


def with_node(name: str, *inputs: str, domain: str = "", **attributes: object) -> bytes:
    """Return the file with an operator more, whose constants `half` and `nothing` are there."""
    node = helper.make_node(name, inputs, ["more"], domain=domain, **attributes)
    constants = {"half": 0.5, "nothing": 0.0}
    return changed(
        lambda model: (
            model.graph.node.append(node),
            model.graph.initializer.extend(
                helper.make_tensor(name, TensorProto.FLOAT, (), [value])
                for name, value in constants.items()
            ),
        )
    )


def external(model: onnx.ModelProto) -> None:
    weights = model.graph.initializer[0]
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/passwd")


BODY = helper.make_graph([], "body", [], [])


def test_the_networks_of_the_tests_pass() -> None:
    check_onnx(MODEL)
    check_onnx(with_node("QuantizeLinear", "logits", "half"))


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "no graph"),
        (b"\xff" * 20, "damaged"),
        (MODEL[:-50], "damaged|not computed"),
        (with_node("Loop", "", "", "logits", body=BODY), "operator 'Loop'"),
        (with_node("Scan", "logits", body=BODY), "operator 'Scan'"),
        (with_node("Relu", "logits", body=BODY), "holds a graph"),
        (with_node("Relu", "logits", domain="of.mine"), "operator 'of.mine.Relu'"),
        (with_node("NonZero", "logits"), "operator 'NonZero'"),
        (with_node("Relu", "elsewhere"), "not computed before"),
        (with_node("Reshape", "logits", "steps"), "a parameter that is computed"),
        (with_node("QuantizeLinear", "logits", "nothing"), "a scale that is not"),
        (changed(external), "outside of the file"),
        (changed(lambda m: m.graph.node.append(m.graph.node[0])), "the same value"),
        (changed(lambda m: m.graph.node.pop()), "an output of it is not computed"),
        (changed(lambda m: m.functions.add(name="f")), "functions of its own"),
        (changed(lambda m: m.graph.initializer[0].dims.append(10**9)), "at most"),
        (changed(lambda m: m.graph.initializer[0].dims.append(2)), "bytes of weights"),
        (changed(lambda m: setattr(m.graph.initializer[0], "data_type", 8)), "type 8"),
    ],
)
def test_a_file_that_would_do_more_than_compute_is_refused(file: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_onnx(file)


def test_a_file_of_a_million_empty_entries_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 300,000 entries"):
        check_onnx(b"\x72\x00" * 1_000_000)


@given(st.lists(st.tuples(st.integers(0, len(MODEL) - 4), st.integers(0, 2**32 - 1)), max_size=4))
def test_whatever_the_bytes_are_the_answer_is_yes_or_a_value_error(
    words: list[tuple[int, int]],
) -> None:
    file = bytearray(MODEL)
    for at, word in words:
        file[at : at + 4] = np.uint32(word).tobytes()
    with suppress(ValueError):
        check_onnx(bytes(file))
