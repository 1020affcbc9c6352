import numpy as np
import pytest
import tiny_models
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.utils import progress_utils

from leansight.exporters.errors import ConversionError
from leansight.exporters.int8.ranges import Range
from leansight.exporters.int8.write_tflite import quantize_tflite, require_integers
from leansight.exporters.tflite.graph import TfliteGraph


def with_layer(kind: str, options: object, *, named: bool = True) -> TfliteGraph:
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
    for number, tensor in enumerate(graph.tensors * named):
        tensor.name = f"t{number}".encode()
    model = graph.pack(pixels, logits)
    readable = TfliteGraph(model)
    ranges = dict.fromkeys(readable.activations, Range(low=-1, high=1))
    return TfliteGraph(quantize_tflite(model, readable, ranges))


def test_a_layer_without_an_int8_form_is_named() -> None:
    require_integers(with_layer("HARD_SWISH", schema.HardSwishOptionsT()))
    quantized = with_layer("LEAKY_RELU", schema.LeakyReluOptionsT(alpha=0.2))
    with pytest.raises(ConversionError, match=r"LEAKY_RELU has no int8 form .*float32 only"):
        require_integers(quantized)


def test_what_the_quantizer_refuses_is_passed_on_in_one_line() -> None:
    # It tells tensors apart by their names: here all have the same.
    with pytest.raises(ConversionError, match=r"^ai-edge-quantizer cannot .*float32 only$"):
        with_layer("HARD_SWISH", schema.HardSwishOptionsT(), named=False)


def test_the_quantizer_draws_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Bar(progress_utils.ProgressBar):
        def __init__(self, *steps: object, enable: bool | None = None, **more: object) -> None:
            asked.append(enable)  # None: from 100 tensors on
            super().__init__(*steps, enable=enable, **more)

    monkeypatch.setattr(progress_utils, "ProgressBar", Bar)
    with_layer("HARD_SWISH", schema.HardSwishOptionsT())
    assert set(asked) == {False}
