"""Small ONNX files, and what ONNX Runtime makes of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from leansight.exporters.importers.onnx_reader import OnnxClassifier, read_onnx
from leansight.runtime.decision import softmax

Floats = NDArray[np.float32]


def runtime(file: Path, images: Floats) -> Floats:
    """Return what ONNX Runtime gives for each image, as the file wants them."""
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])


def pictures(count: int, size: int, channels: int = 3) -> Floats:
    """Return noise, channels first."""
    return np.random.default_rng(0).normal(size=(count, channels, size, size)).astype(np.float32)


def given(classifier: OnnxClassifier, images: Floats) -> Floats:
    with torch.inference_mode():
        return classifier.network(torch.from_numpy(images)).numpy()


def require_equal(file: Path, size: int, asked: int | None) -> OnnxClassifier:
    classifier = read_onnx(file, size=asked, channels=3)
    images = pictures(5, size)
    exact = runtime(file, images)
    assert np.ptp(exact) > 1e-4  # else all would be equal
    np.testing.assert_allclose(given(classifier, images), exact, atol=2e-5 * np.abs(exact).max())
    assert (classifier.size, classifier.outputs, classifier.end) == (size, 5, "logits")
    return classifier


class File:
    """An ONNX file in the making: nodes, and constants by their numbers."""

    def __init__(
        self,
        shape: Sequence[int | str] = (1, 3, 8, 8),
        opset: int = 17,
        kind: int = TensorProto.FLOAT,
    ) -> None:
        self.shape, self.opset, self.kind = shape, opset, kind
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = "image"

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def then(self, kind: str, *inputs: str, **attributes: Any) -> "File":  # noqa: ANN401 -- ONNX's
        """Add a node that takes the result of the last one first."""
        return self.node(kind, self.last, *inputs, **attributes)

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> "File":  # noqa: ANN401
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(
                kind, inputs, names, name=f"the_{kind}_{len(self.nodes)}", **attributes
            )
        )
        self.last = names[0]
        return self

    def classes(self, features: int, count: int = 4) -> "File":
        """End in a mean over the picture and a dense layer."""
        weights = np.random.default_rng(1).normal(size=(features, count))
        self.then("GlobalAveragePool").then("Flatten")
        return self.then("Gemm", self.constant(weights), self.constant(np.arange(count)))

    def save(self, folder: Path, outputs: Sequence[str] = ()) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "by hand",
            [helper.make_tensor_value_info("image", self.kind, self.shape)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                for name in outputs or [self.last]
            ],
            self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("ai.other", 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "f.onnx")
        return folder / "f.onnx"


def numbers(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(2).normal(size=shape)


def require_like_runtime(file: Path, *, end: str = "logits") -> None:
    """Hold what is read against ONNX Runtime: three images at once, and one by one in the file."""
    classifier = read_onnx(file, size=None, channels=3)
    assert classifier.end == end
    assert isinstance(classifier.size, int)
    images = pictures(3, classifier.size)
    exact, logits = runtime(file, images), given(classifier, images)
    assert np.ptp(exact, axis=0).max() > 1e-4  # else images would not matter
    shown = softmax(logits) if end == "softmax" else logits
    np.testing.assert_allclose(shown, exact, atol=2e-5, rtol=2e-5)
