import numpy as np
import pytest
import tiny_models
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.utils import progress_utils
from torch import nn
from trained_networks import ignore

from leansight.exporters.conversion.convert import convert
from leansight.exporters.conversion.inference import predict
from leansight.exporters.errors import ConversionError
from leansight.exporters.int8.calibrated_network import calibrate_network
from leansight.exporters.int8.ranges import Range
from leansight.exporters.int8.write_tflite import quantize_tflite, require_integers
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.runtime.interpreter import load_interpreter
from leansight.runtime.preprocessing import Preprocessing


def with_layer(
    kind: str,
    options: object,
    *,
    names: tuple[str, ...] = ("t0", "t1", "t2", "t3"),
    in_float: tuple[str, ...] = (),
) -> TfliteGraph:
    """Return a dense layer on the means of what this operator makes of the pixels, quantized."""
    graph = tiny_models.TfliteGraph()
    pixels, made, means, logits = (
        graph.tensor(shape) for shape in ((1, 8, 8, 1), (1, 8, 8, 1), (1, 1), (1, 3))
    )
    graph.add(kind, (pixels,), made, options)
    axes = graph.constant(np.array([1, 2], np.int32))
    graph.add("MEAN", (made, axes), means, schema.ReducerOptionsT())
    weights, zeros = (graph.constant(np.zeros(s, np.float32)) for s in ((3, 1), (3,)))
    dense = schema.FullyConnectedOptionsT()
    graph.add("FULLY_CONNECTED", (means, weights, zeros), logits, dense)
    given = (*names, *(f"constant{n}" for n in range(3))) if names else ("t",) * 7
    for tensor, name in zip(graph.tensors, given, strict=True):
        tensor.name = name.encode()
    model = graph.pack(pixels, logits)
    readable = TfliteGraph(model)
    ranges = dict.fromkeys(readable.activations, Range(low=-1, high=1))
    return TfliteGraph(quantize_tflite(model, readable, ranges, in_float))


def test_a_layer_without_an_int8_form_is_named() -> None:
    require_integers(with_layer("HARD_SWISH", schema.HardSwishOptionsT()))
    quantized = with_layer("LEAKY_RELU", schema.LeakyReluOptionsT(alpha=0.2))
    with pytest.raises(ConversionError, match=r"LEAKY_RELU has no int8 form .*float32 only"):
        require_integers(quantized)


def test_what_the_quantizer_refuses_is_passed_on_in_one_line() -> None:
    # It tells tensors apart by their names: here all have the same.
    with pytest.raises(ConversionError, match=r"^ai-edge-quantizer cannot .*float32 only$"):
        with_layer("HARD_SWISH", schema.HardSwishOptionsT(), names=())


def test_a_layer_whose_name_begins_with_that_of_one_in_float_is_int8() -> None:
    # The converter gives such names: to each layer of a module the module's, and a number.
    swish = schema.HardSwishOptionsT()
    quantized = with_layer("HARD_SWISH", swish, names=("p", "a", "a;1", "a;2"), in_float=("a",))
    require_integers(quantized, ("a",))
    assert {op.kind for op in quantized.operators if "a;2" in op.outputs[0]} == {"FULLY_CONNECTED"}
    assert quantized.tensors["a"].quantization is None


def test_the_quantizer_draws_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Bar(progress_utils.ProgressBar):
        def __init__(self, *steps: object, enable: bool | None = None, **more: object) -> None:
            asked.append(enable)  # None: from 100 tensors on
            super().__init__(*steps, enable=enable, **more)

    monkeypatch.setattr(progress_utils, "ProgressBar", Bar)
    with_layer("HARD_SWISH", schema.HardSwishOptionsT())
    assert set(asked) == {False}


@pytest.mark.slow
def test_a_convolution_above_32_mib_is_int8() -> None:
    """ai-edge-quantizer 0.10 refuses it by itself."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 960, 4, 4), nn.ReLU(), nn.Conv2d(960, 1000, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1000, 3)),
    )
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    found = calibrate_network(convert(network, Preprocessing(size=16)), pixels, ignore)
    tflite, onnx = (load_interpreter(file, kind) for kind, file in found.write().items())
    exact = predict(network, pixels)
    for one, expected in zip(pixels, exact, strict=True):
        np.testing.assert_array_equal(tflite(one[None]), onnx(one[None]))
        np.testing.assert_allclose(tflite(one[None]), expected, atol=0.1 * np.ptp(exact))


@pytest.mark.parametrize("widest", [0.0, 3e-12, 1.0])
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_layer_that_is_given_nothing_keeps_its_biases(widest: float, weight: float) -> None:
    graph = tiny_models.TfliteGraph()
    pixels, means, logits = (graph.tensor(shape) for shape in ((1, 4, 4, 1), (1, 1), (1, 3)))
    axes = graph.constant(np.array([1, 2], np.int32))
    graph.add("MEAN", (pixels, axes), means, schema.ReducerOptionsT())
    biases = np.array([0.5, -2, 1e-4], np.float32)
    weights, added = graph.constant(np.full((3, 1), weight, np.float32)), graph.constant(biases)
    graph.add("FULLY_CONNECTED", (means, weights, added), logits, schema.FullyConnectedOptionsT())
    for number, tensor in enumerate(graph.tensors):
        tensor.name = f"t{number}".encode()
    readable = TfliteGraph(model := graph.pack(pixels, logits))
    ranges = {
        name: Range(low=0, high=widest if name in {f"t{pixels}", f"t{means}"} else 2.5)
        for name in readable.activations
    }
    quantized = TfliteGraph(quantize_tflite(model, readable, ranges))
    (dense,) = (op for op in quantized.operators if op.kind == "FULLY_CONNECTED")
    found = quantized.tensors[dense.inputs[2]]
    assert found.values is not None
    assert found.quantization is not None
    np.testing.assert_allclose(found.values * found.quantization.scale, biases, 1e-4, 1e-5)
