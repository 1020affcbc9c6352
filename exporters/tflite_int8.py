"""The float TFLite graph as full-integer int8, with ranges that are given to it."""

import warnings
from collections.abc import Mapping

import numpy as np
from ai_edge_quantizer import quantizer, recipe

from leansight.exporters.calibration import Range
from leansight.exporters.errors import ConversionError
from leansight.exporters.tflite_graph import TfliteGraph

CASTS = frozenset({"QUANTIZE", "DEQUANTIZE"})
FLOAT_ONLY = "this network can be exported with --precision float32 only"


def quantize_tflite(model: bytes, graph: TfliteGraph, ranges: Mapping[str, Range]) -> bytes:
    """Return the int8 file: weights per channel and symmetric, activations per tensor.

    ai-edge-quantizer writes it; its own calibration (a moving average) loses too much accuracy
    and is not used.

    Raises:
        ConversionError: the quantizer does not know a layer as this network uses it.

    """
    calibration = {
        name: {
            "min": _of_rank(graph, name, ranges[name].low),
            "max": _of_rank(graph, name, ranges[name].high),
        }
        for name in graph.activations
    }
    with warnings.catch_warnings():
        # LiteRT warns that keeping every activation is for debugging: the quantizer reads them.
        warnings.simplefilter("ignore", UserWarning)
        try:
            result = quantizer.Quantizer(bytearray(model), recipe.static_wi8_ai8()).quantize(
                calibration, enable_progress_bar=False, enable_progress_report=False
            )
        except ValueError as error:
            said = " ".join(str(error).split())
            raise ConversionError(
                f"ai-edge-quantizer cannot make this network int8 ({said}): {FLOAT_ONLY}"
            ) from error
    assert result.quantized_model is not None
    return bytes(result.quantized_model)


def require_integers(graph: TfliteGraph) -> None:
    """Raise ConversionError if the quantized graph still computes something in float."""
    for op in graph.operators:
        touched = [name for name in (*op.inputs, *op.outputs) if name]
        floats = [name for name in touched if graph.tensors[name].dtype == "float32"]
        if floats and op.kind not in CASTS:
            raise ConversionError(
                f"TFLite's {op.kind} has no int8 form here ({floats[0]}): {FLOAT_ONLY}"
            )


def _of_rank(
    graph: TfliteGraph, name: str, value: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.full((1,) * graph.tensors[name].rank, value, np.float32)
