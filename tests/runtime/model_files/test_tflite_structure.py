"""Is a TFLite file refused that points, loops or counts where it must not?"""

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import tiny_models
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from leansight.exporters.tflite.file import pack, unpack
from leansight.runtime.model_files.tflite_structure import check_tflite

MODEL = tiny_models.stripes_tflite()


def changed(change: Callable[[Any, Any], object]) -> bytes:
    """Return the file after a change of its objects, the model and its graph."""
    model = unpack(MODEL)
    change(model, model.subgraphs[0])
    return pack(model)


def with_quantization(**values: object) -> bytes:
    return changed(
        lambda _, graph: setattr(
            graph.tensors[0], "quantization", schema.QuantizationParametersT(**values)
        )
    )


def with_operator(code: int) -> bytes:
    entry = schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=min(code, 127))
    return changed(lambda model, _: model.operatorCodes.insert(0, entry))


def test_the_networks_of_the_tests_pass() -> None:
    check_tflite(MODEL)
    check_tflite(changed(lambda *_: None))
    check_tflite(with_quantization(scale=[0.5], zeroPoint=[0]))


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "offset leads out of the file|does not begin"),
        (b"\xff\xff\0\0TFL3", "an offset leads out of the file"),
        (MODEL[:100], "an offset leads out of the file"),
        (changed(lambda m, _: setattr(m, "version", 2)), "version 2"),
        (changed(lambda m, g: m.subgraphs.append(g)), "2 graphs"),
        (changed(lambda _, g: setattr(g.operators[0], "inputs", [99])), "no tensor 99"),
        (changed(lambda _, g: setattr(g.operators[0], "outputs", [-1])), "no tensor"),
        (changed(lambda _, g: setattr(g.operators[0], "opcodeIndex", 9)), "no operator 9"),
        (changed(lambda _, g: setattr(g, "outputs", [99])), "no tensor 99"),
        (changed(lambda _, g: g.operators.reverse()), "not computed before"),
        (changed(lambda _, g: g.operators.append(g.operators[0])), "the same tensor"),
        (changed(lambda _, g: g.operators.pop()), "an output of it is not computed"),
        (changed(lambda _, g: setattr(g.tensors[1], "shape", [1, -6])), r"shape \[1, -6\]"),
        (changed(lambda _, g: setattr(g.tensors[1], "shape", [65_536] * 2)), "17,179,869,184 by"),
        (changed(lambda _, g: setattr(g.tensors[4], "shape", [999])), "bytes of weights"),
        (changed(lambda _, g: setattr(g.tensors[4], "buffer", 99)), "no buffer 99"),
        (changed(lambda _, g: setattr(g.tensors[0], "type", 13)), "type 13"),
        (changed(lambda _, g: setattr(g.tensors[0], "isVariable", True)), "keeps a state"),
        (changed(lambda _, g: setattr(g.operators[1], "inputs", [1, 0])), "that is computed"),
        (with_quantization(scale=[0.0], zeroPoint=[0]), "a scale that is not"),
        (with_quantization(scale=[float("nan")], zeroPoint=[0]), "a scale that is not"),
        (with_quantization(scale=[1.0], zeroPoint=[7]), "zero point outside"),
        (with_quantization(scale=[1.0] * 3, zeroPoint=[0] * 3), "3 scales"),
        (with_operator(schema.BuiltinOperator.WHILE), "operator 119"),
        (with_operator(schema.BuiltinOperator.CUSTOM), "custom operator"),
        (with_operator(schema.BuiltinOperator.VAR_HANDLE), "operator 142"),
    ],
)
def test_a_file_that_would_lead_elsewhere_is_refused(file: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_tflite(file)


def test_a_vector_of_a_billion_tables_is_refused_at_once() -> None:
    at = MODEL.index(struct.pack("<I", len(unpack(MODEL).subgraphs[0].tensors)))
    file = MODEL[:at] + struct.pack("<I", 10**9) + MODEL[at + 4 :]
    with pytest.raises(ValueError, match=r"out of the file|at most"):
        check_tflite(file)


@given(st.lists(st.tuples(st.integers(0, len(MODEL) - 4), st.integers(0, 2**32 - 1)), max_size=4))
def test_whatever_the_bytes_are_the_answer_is_yes_or_a_value_error(
    words: list[tuple[int, int]],
) -> None:
    file = bytearray(MODEL)
    for at, word in words:
        file[at : at + 4] = np.uint32(word).tobytes()
    with suppress(ValueError):
        check_tflite(bytes(file))
