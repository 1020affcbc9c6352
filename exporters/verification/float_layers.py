"""Full-integer check: an int8 file must compute in integers from its first layer to its last.

Of every layer is asked:

- weights are int8, symmetric, with a scale for each channel; a bias is int32;
- what it takes and gives is quantized: whole numbers with one scale and one zero point;
- it computes nothing in float, unless it touches an activation that was left in float
  (docs/decisions/0012); casts, of pixels and of logits, compute nothing;
- it transposes nothing. Only where a picture is flattened for a dense layer its axes need an
  order: TFLite has channels last, torch has them first.

Where ONNX Runtime has no integer kernel for a layer that is quantized (hard-swish that follows no
layer, docs/decisions/0005), it computes it in float all the same: that is not seen here.
"""

from collections.abc import Collection, Iterable
from typing import Final

import onnx

from leansight.exporters.errors import FLOAT_ONLY, ConversionError
from leansight.exporters.verification.layers import Layer, onnx_layers, tflite_layers

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
    _inspect(onnx_layers(graph), cut.union(in_float))


def names_of_float_layers(model: bytes) -> tuple[str, ...]:
    """Return the convolutions and dense layers of an int8 TFLite file that compute in float.

    Each is named by the tensor that it gives, in the order in which they run.
    """
    weighted = (layer for layer in tflite_layers(model) if layer.weights is not None)
    return tuple(
        layer.gives[0].name
        for layer in weighted
        if any(tensor.is_float for tensor in (*layer.takes, *layer.gives))
    )


def _inspect(layers: Iterable[Layer], in_float: Collection[str]) -> None:
    for layer in layers:
        touched = (*layer.takes, *layer.gives)
        left = any(tensor.is_float and tensor.name in in_float for tensor in touched)
        fault = "transposes an activation" if layer.transposes else None
        if not left:
            fault = fault or _computes_in_float(layer) or _rounds_weights_badly(layer)
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
