"""Models that fail while they run: each is one line that says so."""

from pathlib import Path

import numpy as np
import pytest
import tiny_models
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.results.table import failures
from leansight.runtime.errors import BundleError

FAST = Settings(frames=1, precision=None, profile=False)


def dividing_by_zero() -> bytes:
    """Return an ONNX model that ONNX Runtime loads and refuses to run."""
    nodes = [
        helper.make_node("GlobalMaxPool", ["pixels"], ["most"]),
        helper.make_node("Cast", ["most"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Sub", ["whole", "whole"], ["zero"]),
        helper.make_node("Div", ["whole", "zero"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["logits"], to=TensorProto.FLOAT),
    ]
    return tiny_models.onnx_model(nodes, {}, (1, 3, 8, 8), (1, 3, 1, 1))


def reading_behind_the_end() -> bytes:
    """Return a TFLite model that LiteRT loads and refuses to run."""
    graph = tiny_models.TfliteGraph()
    shape, whole = (1, 8, 8, 1), schema.TensorType.INT32
    pixels, logits = graph.tensor(shape), graph.tensor(shape)
    rounded, places, found = (graph.tensor(shape, whole) for _ in range(3))
    cast = schema.CastOptionsT(inDataType=schema.TensorType.FLOAT32, outDataType=whole)
    graph.add("CAST", (pixels,), rounded, cast)
    far = graph.constant(np.full(1, 1000, np.int32))
    graph.add("ADD", (rounded, far), places, schema.AddOptionsT())
    values = graph.constant(np.arange(64, dtype=np.int32))
    graph.add("GATHER", (values, places), found, schema.GatherOptionsT())
    back = schema.CastOptionsT(inDataType=whole, outDataType=schema.TensorType.FLOAT32)
    graph.add("CAST", (found,), logits, back)
    return graph.pack(pixels, logits)


@pytest.fixture
def broken(tmp_path: Path) -> list[Path]:
    """A model of each format that loads and does not run."""
    files = [tmp_path / "broken.onnx", tmp_path / "broken.tflite"]
    files[0].write_bytes(dividing_by_zero())
    files[1].write_bytes(reading_behind_the_end())
    return files


def test_what_an_interpreter_says_is_the_reason_and_the_model_is_named_once(
    broken: list[Path], tmp_path: Path, tiny_onnx: bytes
) -> None:
    good = tmp_path / "good.onnx"
    good.write_bytes(tiny_onnx)
    found = benchmark(find_models([*broken, good]), [synthetic_image()], FAST)
    assert [result.name for result in found.results] == ["good.onnx"]
    onnx, tflite = failures(found)
    assert onnx.startswith("broken.onnx (onnx) failed: it cannot be run: ")
    assert onnx.endswith("Integer division by zero")
    assert tflite.startswith("broken.tflite (tflite) failed: it cannot be run: gather index out of")


def test_where_no_model_is_left_each_has_its_reason(broken: list[Path]) -> None:
    with pytest.raises(BundleError) as raised:
        benchmark(find_models(broken), [synthetic_image()], FAST)
    onnx, tflite = str(raised.value).split("; ")
    assert onnx.startswith(f"{broken[0]}: it cannot be run: ")
    assert tflite.startswith(f"{broken[1]}: it cannot be run: ")
