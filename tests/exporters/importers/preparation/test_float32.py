"""float16, bfloat16 and float64 networks, held against ONNX Runtime and against numpy."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import File, given, numbers, pictures, runtime

from leansight.exporters.importers.onnx_reader import largest_difference, read_onnx

KINDS = {
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float64": TensorProto.DOUBLE,
}


def network(opset: int = 17) -> File:
    file = File(opset=opset)
    file.then("Conv", file.constant(numbers(6, 3, 3, 3)), file.constant(numbers(6))).then("Relu")
    return file.classes(6, 4)


def in_precision(plain: Path, name: str, *, casts: bool) -> Path:
    """Write weights and types in another precision; with `casts` its ends are float32."""
    model, kind = onnx.load(plain), KINDS[name]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(dtype)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    ends = (model.graph.input[0], model.graph.output[0])
    if casts:
        first, last = model.graph.node[0], model.graph.node[-1]
        before = helper.make_node("Cast", ["image"], ["cast_image"], to=kind)
        after = helper.make_node("Cast", ["cast_result"], [last.output[0]], to=TensorProto.FLOAT)
        first.input[0], last.output[0] = "cast_image", "cast_result"
        model.graph.node.insert(0, before)
        model.graph.node.append(after)
    else:
        for end in ends:
            end.type.tensor_type.elem_type = kind
    file = plain.with_name(f"{name}.onnx")
    onnx.save(model, file)
    return file


@pytest.mark.parametrize("casts", [False, True])
def test_float16_is_read_as_float32_and_told(tmp_path: Path, *, casts: bool) -> None:
    file = in_precision(network().save(tmp_path), "float16", casts=casts)
    classifier = read_onnx(file, size=None, channels=3)
    assert classifier.notes == ("computes in float16, and is read as float32",)
    assert classifier.computes_in == "float16"
    images = pictures(5, 8)
    exact = runtime(file, images if casts else images.astype(np.float16)).astype(np.float64)
    logits = given(classifier, images)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, exact, atol=2e-3 * np.abs(exact).max())
    outputs = classifier.run(images.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(outputs, exact, atol=1e-6)
    assert largest_difference(classifier, logits, outputs) < 2e-3
    weights = [p.numpy() for p in classifier.network.parameters()]
    halves = numbers(6, 3, 3, 3).astype(np.float16).astype(np.float32)
    assert any(w.shape == halves.shape and np.array_equal(w, halves) for w in weights)


@pytest.mark.parametrize("name", ["bfloat16", "float64"])
def test_what_onnx_runtime_cannot_run_is_read_as_float32(name: str, tmp_path: Path) -> None:
    plain = network().save(tmp_path).rename(tmp_path / "plain.onnx")
    classifier = read_onnx(in_precision(plain, name, casts=False), size=None, channels=3)
    assert classifier.notes == (f"computes in {name}, and is read as float32",)
    images = pictures(5, 8)
    exact = runtime(plain, images)
    coarse = 2e-2 if name == "bfloat16" else 1e-5
    np.testing.assert_allclose(given(classifier, images), exact, atol=coarse * np.abs(exact).max())


def test_sizes_computed_in_float64_stay_exact(tmp_path: Path) -> None:
    file = network()
    file.node("Cast", file.constant(np.float64(0.1), np.float64), to=TensorProto.FLOAT)
    tenth = file.last
    file.node("Add", file.nodes[-2].output[0], tenth)
    classifier = read_onnx(file.save(tmp_path), size=None, channels=3)
    assert classifier.notes == ()
