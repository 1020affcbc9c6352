import json

import ai_edge_litert.interpreter as litert
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from leansight.benchmarks.graph_count import count_graph
from leansight.benchmarks.probes.peak_graphs import PEAK_MACS, peak_graph
from leansight.runtime.interpreter import Format, load_interpreter

PIXELS = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 256), np.uint8)


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_all_of_a_peak_graph_are_the_products_that_it_says(model_format: Format) -> None:
    count = count_graph(peak_graph(model_format), model_format)
    # Four of (1024 x 256) by (256 x 256), and one row by (256 x 256).
    assert count.macs == PEAK_MACS == (4 * 1024 + 1) * 256 * 256
    assert count.precision_text == "int8"
    assert all(layer.is_int8 for layer in count.layers)


def by_hand(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the first place's logits with numpy; the others do not matter to it."""
    weights = np.random.default_rng(0).integers(-127, 128, (256, 256)).astype(np.float64)
    row = pixels[0, 0, 0].astype(np.float64) - 128
    for _ in range(5):
        row = np.clip(np.rint(row @ weights * 0.002), -128, 127)
    return row * 0.02


def test_both_formats_compute_products_of_matrices() -> None:
    tflite = load_interpreter(peak_graph("tflite"), "tflite")(PIXELS)
    onnx = load_interpreter(peak_graph("onnx"), "onnx")(PIXELS)
    assert tflite.shape == onnx.shape == (256,)
    # TFLite's weights are (out, in), ONNX's (in, out).
    assert np.abs(onnx - by_hand(PIXELS)).max() <= 3 * 0.02
    assert np.ptp(tflite) > 0.5
    assert np.ptp(onnx) > 0.5


def test_litert_leaves_it_to_xnnpack_and_onnx_runtime_to_int8_kernels() -> None:
    made = litert.Interpreter(model_content=peak_graph("tflite"))
    made.allocate_tensors()
    names = [row["op_name"] for row in made._get_ops_details()]  # noqa: SLF001 -- no public name tells
    assert names.count("DELEGATE") == 1
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(peak_graph("onnx"), options)
    assert json.dumps([i.type for i in session.get_inputs()]) == '["tensor(uint8)"]'
