"""Files that ONNX Runtime's optimizer wrote, held against ONNX Runtime on the plain file."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper
from onnx_files import File, given, numbers, pictures, runtime

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_reader import read_onnx
from leansight.exporters.importers.preparation.fused_operators import split_fused


def plain(opset: int = 17) -> File:
    """Layers that the optimizer fuses: convolutions with activations, a sum, an Erf GELU."""
    file = File(opset=opset)
    file.then("Conv", file.constant(numbers(6, 3, 3, 3)), file.constant(numbers(6)))
    file.then("Clip", file.constant(0.0), file.constant(6.0))
    file.then("Conv", file.constant(numbers(6, 6, 1, 1)), file.constant(numbers(6)))
    file.then("LeakyRelu", alpha=0.2)
    left = file.last
    file.then("Div", file.constant(math.sqrt(2))).then("Erf").then("Add", file.constant(1.0))
    file.node("Mul", left, file.last).then("Mul", file.constant(0.5))
    return file.classes(6)


def optimized(file: Path, level: str) -> Path:
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    out = file.with_name(f"{level}.onnx")
    options.optimized_model_filepath, options.log_severity_level = str(out), 4
    ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return out


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED"])
def test_an_optimized_file_is_read_like_the_plain_one(level: str, tmp_path: Path) -> None:
    file = plain().save(tmp_path)
    made = optimized(file, level)
    domains = {node.domain for node in onnx.load(made).graph.node}
    assert ("com.microsoft" in domains) == (level == "EXTENDED")
    images = pictures(4, 8)
    exact = runtime(file, images)
    classifier = read_onnx(made, size=None, channels=3)
    np.testing.assert_allclose(given(classifier, images), exact, atol=1e-5 * np.abs(exact).max())
    noted = ["holds FusedConv, Gelu of ONNX Runtime's, read as what they stand for"]
    assert list(classifier.notes) == noted * (level == "EXTENDED")


def test_layouts_of_one_processor_are_refused_by_name(tmp_path: Path) -> None:
    file = File()
    node = helper.make_node("Conv", ["image", "w"], ["y"], "packed", domain="com.microsoft.nchwc")
    file.nodes.append(node)
    file.constants.append(onnx.numpy_helper.from_array(np.zeros((8, 3, 1, 1), np.float32), "w"))
    file.last = "y"
    path = file.classes(8).save(tmp_path)
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    onnx.save(model, path)
    with pytest.raises(ConversionError, match=r"nchwc.Conv \(packed\), .* Give the one from"):
        read_onnx(path, size=None, channels=3)


FUSED: dict[str, Callable[[File], File]] = {
    "FastGelu": lambda f: f.then("FastGelu", domain="com.microsoft"),
    "FastGelu with a bias": lambda f: f.then(
        "FastGelu", f.constant(numbers(8)), domain="com.microsoft"
    ),
    "BiasGelu": lambda f: f.then("BiasGelu", f.constant(numbers(8)), domain="com.microsoft"),
    "QuickGelu": lambda f: f.then("QuickGelu", alpha=1.702, domain="com.microsoft"),
    "FusedMatMul": lambda f: f.then(
        "FusedMatMul", f.constant(numbers(5, 8)), transB=1, alpha=0.3, domain="com.microsoft"
    ),
    "FusedGemm": lambda f: f.then("Reshape", f.constant([1, 192], np.int64)).then(
        "FusedGemm",
        f.constant(numbers(192, 5)),
        f.constant(numbers(5)),
        activation="LeakyRelu",
        activation_alpha=0.3,
        domain="com.microsoft",
    ),
    "a sum in FusedConv": lambda f: f.node(
        "FusedConv",
        "image",
        f.constant(numbers(3, 3, 3, 3)),
        f.constant(numbers(3)),
        "image",
        pads=[1, 1, 1, 1],
        activation="Relu",
        domain="com.microsoft",
    ),
    "HardSigmoid in FusedConv": lambda f: f.node(
        "FusedConv",
        "image",
        f.constant(numbers(3, 3, 3, 3)),
        activation="HardSigmoid",
        activation_params=[0.3, 0.4],
        domain="com.microsoft",
    ),
}


@pytest.mark.parametrize("name", FUSED)
def test_a_fused_operator_is_what_it_stands_for(name: str, tmp_path: Path) -> None:
    path = FUSED[name](File()).save(tmp_path)
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    images = pictures(3, 8)
    exact = runtime(path, images)  # ONNX Runtime's own kernels
    assert len(split_fused(model)) == 1
    onnx.save(model, tmp_path / "split.onnx")
    assert {node.domain for node in model.graph.node} == {""}
    np.testing.assert_allclose(runtime(tmp_path / "split.onnx", images), exact, atol=1e-5)
