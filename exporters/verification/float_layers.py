"""Full-integer check: an int8 file must compute in integers from its first layer to its last.

Of every layer is asked:

- weights are int8, symmetric, with a scale for each channel; a bias is int32;
- what it takes and gives is quantized: whole numbers with one scale and one zero point;
- it computes nothing in float, unless it touches an activation that was left in float
  (docs/decisions/0012) or lies in an island of operators without an integer form
  (docs/decisions/0032); casts, of pixels and of logits, compute nothing.

Where ONNX Runtime has no integer kernel for a layer that is quantized (GELU), it computes it in
float all the same, of the same 256 numbers: that is not seen here.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from typing import Final

import onnx

from leansight.exporters.errors import FLOAT_ONLY, ConversionError
from leansight.exporters.verification.layers import Layer, onnx_layers, tflite_layers
from leansight.runtime.interpreter import Format

FLOAT_MARK: Final = "computes in float32"  # doc_string of ONNX nodes without an integer form
_ENDS: Final = ("_exact", "_computed")  # of the names of what is rounded afterwards
_ACTIVATIONS: Final = frozenset({"Relu", "Clip"})  # TFLite has them in the layer before


def inspect_tflite(model: bytes, in_float: Collection[str] = ()) -> None:
    """Raise ConversionError at the first layer of a TFLite file that is not as asked above.

    What takes or gives an activation of `in_float` may compute in float.
    """
    _inspect(tflite_layers(model), in_float)


def inspect_onnx(model: bytes, in_float: Collection[str] = ()) -> None:
    """Raise ConversionError at the first layer of an ONNX file that is not as asked above.

    What takes or gives an activation of `in_float` may compute in float, and so may the layer
    before a Relu or Clip that does.
    """
    graph = onnx.load_from_string(model).graph
    cut = {n.input[0] for n in graph.node if n.op_type in _ACTIVATIONS and n.output[0] in in_float}
    exact = {f"{name}{end}" for name in in_float for end in _ENDS}  # what is rounded afterwards
    _inspect(onnx_layers(graph), cut.union(in_float, exact))


def names_of_float_layers(files: Mapping[Format, bytes]) -> tuple[str, ...]:
    """Return the layers of an int8 network that compute in float, in both files.

    First the convolutions and dense layers, each by the TFLite tensor that it gives, then what
    has no integer form, each by its ONNX operator and the tensor that it gives; in the order in
    which they run.
    """
    weighted = (layer for layer in tflite_layers(files["tflite"]) if layer.weights is not None)
    nodes = onnx.load_from_string(files["onnx"]).graph.node
    return (
        *(
            layer.gives[0].name
            for layer in weighted
            if any(tensor.is_float for tensor in (*layer.takes, *layer.gives))
        ),
        *(
            f"{n.op_type} {reduce(str.removesuffix, _ENDS, n.output[0])}"
            for n in nodes
            if n.doc_string == FLOAT_MARK
        ),
    )


def _inspect(layers: Iterable[Layer], in_float: Collection[str]) -> None:
    for layer in layers:
        given = {tensor.name for tensor in layer.gives}
        taken = {tensor.name for tensor in layer.takes if tensor.is_float}
        left = (given | taken) & set(in_float)
        fault = None if left else _computes_in_float(layer) or _rounds_weights_badly(layer)
        if fault is not None:
            raise ConversionError(f"{layer.name} {fault}: {FLOAT_ONLY}", parameter="precision")


def _computes_in_float(layer: Layer) -> str | None:
    """Return which tensor a layer does not take or give as integers on one grid, or None."""
    for tensor in (*layer.takes, *layer.gives):
        if tensor.is_float:
            return f"computes in float ({tensor.name})"
        if tensor.scales != 1:
            return f"has {tensor.scales or 'no'} scales for {tensor.name} ({tensor.dtype})"
    return None


def _rounds_weights_badly(layer: Layer) -> str | None:
    """Return what is wrong with a layer's weights and bias, or None."""
    weights, channels = layer.weights, layer.channels
    if weights is None:
        return None
    if weights.dtype != "int8" or not weights.symmetric:
        return f"has weights that are not symmetric int8 ({weights.dtype})"
    if weights.scales != channels or (channels > 1 and weights.axis != layer.axis):
        return f"has {weights.scales} scales for weights of {channels} channels, not one for each"
    if layer.bias is not None and layer.bias.dtype != "int32":
        return f"has a bias that is not int32 ({layer.bias.dtype})"
    return None
