"""ONNX in QDQ form: the float graph with the integers and scales of the int8 TFLite file.

Weights and biases are copied, not rounded again, so that both files hold one network.
Activations are signed, as in TFLite, or unsigned (zero point + 128): the same grid, of which ONNX
Runtime runs one faster than the other (docs/decisions/0004).
"""

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from leansight.exporters.errors import ConversionError
from leansight.exporters.int8.qdq_writer import SIGNED, UNSIGNED, Levels, QdqWriter
from leansight.exporters.int8.tensor_matching import MOVING
from leansight.exporters.tflite.graph import Operator, Quantization, TfliteGraph
from leansight.exporters.verification.float_layers import FLOAT_MARK

WEIGHTED = frozenset({"Conv", "Gemm"})
WITH_CONSTANT = {"Add": "ADD", "Mul": "MUL"}  # and what they are called in TFLite
ACTIVATIONS = frozenset({"Relu", "Clip"})


class NoPartnerError(ConversionError):
    """A tensor of the ONNX graph holds numbers that no tensor of the TFLite file holds."""


def quantize_onnx(
    model: onnx.ModelProto,
    quantized: TfliteGraph,
    partners: Mapping[str, str],
    *,
    islands: Collection[str] = (),
    signed: bool = False,
) -> bytes:
    """Return the int8 file, which takes (1, C, S, S) uint8 pixels and gives float32 logits.

    Args:
        model: the float network; batch norms folded.
        quantized: the int8 TFLite graph of the same network.
        partners: the TFLite tensor of each ONNX activation, from `pair_tensors`.
        islands: the TFLite operators without an integer form, each by what it gives first; the ONNX
            nodes that give the same are marked.
        signed: whether activations are int8 instead of uint8.

    Raises:
        NoPartnerError: of an activation that has to be rounded, or of what a layer gives.
        ConversionError: the weights of a layer differ.

    """
    levels = SIGNED if signed else UNSIGNED
    graph, partners = _fuse_activations(model.graph, quantized, partners, levels)
    _pool_global_means(graph)
    writer = QdqWriter(graph, levels)
    writer.dequantize_input(_quantization(quantized, partners, writer.input.name))
    floats = find_floats(graph, quantized, partners)
    for node in list(writer.graph.node):
        if floats.issuperset(node.output):
            rounded = _read_rounded(node, graph, quantized, partners)
            writer.take_exact(node, but=rounded)
        if partners.get(node.output[0]) in islands and node.op_type not in MOVING:
            node.doc_string = FLOAT_MARK
        if node.op_type in ACTIVATIONS and _shares_grid(quantized, partners, node):
            grid = _quantization(quantized, partners, node.output[0])
            writer.clip(node, _bounds(node, graph, grid, levels), grid)
            continue
        _quantize_constants(writer, node, quantized, partners)
        writer.node(node)
        for name in list(node.output):
            if name in partners and _is_rounded(quantized, partners[name]):
                grid = _quantization(quantized, partners, name)
                is_float = not quantized.tensors[partners[name]].quantization
                writer.requantize(node, name, grid, keep_exact=is_float)
            elif name not in floats and _only_moves(node, graph):
                writer.move(node, name)
    return writer.finish(model)


def _only_moves(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    """Whether a node gives nothing but numbers that it takes, and zeros around them."""
    if node.op_type != "Pad":
        return node.op_type in MOVING
    added = {
        i.name: numpy_helper.to_array(i) for i in graph.initializer if i.name in node.input[2:3]
    }
    return not any(values.any() for values in added.values())


def find_floats(
    graph: onnx.GraphProto, quantized: TfliteGraph, partners: Mapping[str, str]
) -> frozenset[str]:
    """Return the ONNX activations that are float: TFLite's partner is, or lies inside with it."""
    floats = {
        name for name, theirs in partners.items() if not quantized.tensors[theirs].quantization
    }
    computed = {name for node in graph.node for name in node.output}
    inner = computed - set(partners)
    while (
        added := {
            name
            for node in graph.node
            if node.op_type not in WEIGHTED and floats.intersection(node.output)
            for name in (*node.input, *node.output)
            if name in inner
        }
        - floats
    ):
        floats |= added
    return frozenset(floats)


def _read_rounded(
    node: onnx.NodeProto,
    graph: onnx.GraphProto,
    quantized: TfliteGraph,
    partners: Mapping[str, str],
) -> frozenset[str]:
    """Return which inputs of a node in float TFLite reads from their grid there, not as they were.

    Told by what the node gives, or the first that has a partner behind it: whether TFLite computes
    that of the tensor in float.
    """
    behind, known = set(node.output), set[str]()
    while behind:
        known |= {partners[name] for name in behind if name in partners}
        behind = {
            name
            for reader in graph.node
            if (behind - partners.keys()).intersection(reader.input)
            for name in reader.output
        }
    given = {name for name in node.input if name in partners} if known else set()
    return frozenset(name for name in given if not known & _in_float(quantized, partners[name]))


def _in_float(graph: TfliteGraph, tensor: str) -> set[str]:
    """Return a tensor in float and all that is computed of it before it is rounded."""
    found = {tensor}
    for op in graph.operators:
        if op.kind != "QUANTIZE" and found.intersection(op.inputs):
            found.update(op.outputs)
    return found


def _quantize_constants(
    writer: QdqWriter, node: onnx.NodeProto, quantized: TfliteGraph, partners: Mapping[str, str]
) -> None:
    """Replace the weights of a layer, or the constant of a sum or product, by TFLite's integers."""
    partner = partners.get(node.output[0], "")
    operator = _maker(quantized, partner)
    if node.op_type in WEIGHTED:
        if operator is None:
            raise NoPartnerError(f"{node.op_type} {node.name} has no partner in TFLite")
        if quantized.tensors[operator.inputs[1]].quantization:
            writer.weights(node, operator, quantized)
    elif operator and operator.kind == WITH_CONSTANT.get(node.op_type):
        operands = [quantized.tensors[name] for name in operator.inputs]
        writer.operand(node, operands if quantized.tensors[partner].quantization else [])


def _maker(graph: TfliteGraph, name: str) -> Operator | None:
    """Return what computes an activation, before its axes were put in another order."""
    makers = {op.outputs[0]: op for op in graph.operators}
    operator = makers.get(name)
    while operator and operator.kind in {"RESHAPE", "TRANSPOSE"}:
        operator = makers.get(operator.inputs[0])
    return operator


def _quantization(graph: TfliteGraph, partners: Mapping[str, str], name: str) -> Quantization:
    if name not in partners:
        raise NoPartnerError(f"{name} has no partner in TFLite")
    rounded = graph.tensors[_rounded(graph, partners[name])]
    if rounded.quantization is None:
        raise ConversionError(f"{name} is not quantized in the TFLite file")
    return rounded.quantization


def _shares_grid(graph: TfliteGraph, partners: Mapping[str, str], node: onnx.NodeProto) -> bool:
    """Whether an activation is given integers on the grid of its own output."""
    partner = partners.get(node.output[0], "")
    return partners.get(node.input[0]) == partner and _is_rounded(graph, partner)


def _is_rounded(graph: TfliteGraph, name: str) -> bool:
    return graph.tensors[_rounded(graph, name)].quantization is not None


def _rounded(graph: TfliteGraph, name: str) -> str:
    """Return what an activation is called once it is rounded; a float layer's is so afterwards."""
    if graph.tensors[name].quantization:
        return name
    casts = (op for op in graph.operators if op.kind == "QUANTIZE" and name in op.inputs)
    return next((op.outputs[0] for op in casts), name)


def _fuse_activations(
    graph: onnx.GraphProto, quantized: TfliteGraph, partners: Mapping[str, str], levels: Levels
) -> tuple[onnx.GraphProto, Mapping[str, str]]:
    """Drop each Relu or Clip that rounding to its own output's grid does by itself.

    TFLite has fused it into the layer before; so does ONNX Runtime, once it is gone. Where a
    concatenation gives it a grid that goes further, it stays, and clips the integers that the
    layer before rounds to the same grid: its bounds are on it, so that is the same.
    """
    result = onnx.GraphProto()
    result.CopyFrom(graph)
    partners = dict(partners)
    uses = Counter(name for node in graph.node for name in node.input)
    producers = {name: node for node in result.node for name in node.output}
    for node in [n for n in result.node if n.op_type in ACTIVATIONS]:
        before = producers.get(node.input[0])
        partner = partners.get(node.output[0])
        if before is None or uses[node.input[0]] > 1:
            continue
        if partners.get(node.input[0], partner) != partner:  # TFLite has two tensors as well
            continue
        if partner and not _is_rounded(quantized, partner):
            partners[node.input[0]] = partner
            continue
        grid = _quantization(quantized, partners, node.output[0])
        ends = [levels.lowest, levels.highest]
        if _bounds(node, graph, grid, levels) in (ends[:1], ends):
            before.output[0] = node.output[0]
            result.node.remove(node)
        else:
            partners[node.input[0]] = partners[node.output[0]]
    return result, partners


def _pool_global_means(graph: onnx.GraphProto) -> None:
    """Write the mean over height and width as GlobalAveragePool, which ONNX Runtime has in int8."""
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "ReduceMean" and len(n.input) > 1]:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        axes = sorted(int(axis) % 4 for axis in constants.get(node.input[1], ()))
        if axes == [2, 3] and attributes.get("keepdims", 1):
            pool = helper.make_node("GlobalAveragePool", [node.input[0]], node.output)
            node.CopyFrom(pool)


def _bounds(
    activation: onnx.NodeProto, graph: onnx.GraphProto, quantization: Quantization, levels: Levels
) -> list[int]:
    """Return the integers between which a Relu or Clip keeps those of its grid."""
    numbers = {i.name: float(numpy_helper.to_array(i)) for i in graph.initializer if not i.dims}
    exact = [numbers[name] for name in activation.input[1:]] or [0.0]
    zero = float(quantization.zero_point[0]) + levels.shift
    steps = [np.rint(bound / quantization.scale[0]) + zero for bound in exact]
    return [int(np.clip(step, levels.lowest, levels.highest)) for step in steps]
