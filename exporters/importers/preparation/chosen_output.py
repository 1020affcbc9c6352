"""The one output of an ONNX graph that gives a number for each class."""

from typing import Final

import onnx

from leansight.exporters.errors import ConversionError

_CHOICES: Final = frozenset({"ArgMax", "TopK", "Hardmax"})
# What may come after a choice or a softmax without changing its numbers.
MOVES: Final = frozenset({"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast"})


def choose_output(model: onnx.ModelProto, wanted: str | None, name: str) -> str:
    """Leave the network one output, in place, without the choice of a class that may end it.

    Args:
        model: what computes other outputs alone is left out.
        wanted: the output's name; None: the only one.
        name: what messages call the file.

    Returns:
        What was left out at the end, for people, or "".

    Raises:
        ConversionError: there are several outputs and none is wanted, or none of that name.

    """
    outputs = {value.name: value for value in model.graph.output}
    if wanted is None and len(outputs) > 1:
        shown = ", ".join(map(_shown, outputs.values()))
        raise ConversionError(
            f"{name} has {len(outputs)} outputs ({shown}): name the one that gives a number for "
            "each class",
            parameter="output",
        )
    if wanted is not None and wanted not in outputs:
        raise ConversionError(
            f"{name} has no output {wanted}: there is {', '.join(outputs)}",
            parameter="output",
        )
    chosen = outputs[wanted or next(iter(outputs))]
    choice = _choice_before(model, chosen.name)
    if choice is not None:
        chosen = onnx.ValueInfoProto(name=choice.input[0])
    chosen = onnx.ValueInfoProto.FromString(chosen.SerializeToString())
    del model.graph.output[:]
    model.graph.output.append(chosen)
    _leave_out_the_rest(model.graph)
    if choice is None:
        return ""
    return f"ends in {choice.op_type} ({choice.name or choice.output[0]}), which is left out"


def _shown(value: onnx.ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    lengths = "×".join(str(dim.dim_value) if dim.dim_value > 0 else "?" for dim in dims)
    return f"{value.name} {lengths}".strip()


def _choice_before(model: onnx.ModelProto, output: str) -> onnx.NodeProto | None:
    """Return the node that chooses a class at the end, if there is one."""
    producers = {name: node for node in model.graph.node for name in node.output}
    node = producers.get(output)
    while node is not None and node.op_type in MOVES:
        node = producers.get(node.input[0])
    return node if node is not None and node.op_type in _CHOICES else None


def _leave_out_the_rest(graph: onnx.GraphProto) -> None:
    """Leave out nodes that no output needs, and weights that no node needs."""
    needed, kept = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    needed.update(name for each in inner.node for name in each.input)
                    needed.update(value.name for value in inner.output)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.node[:]
    graph.node.extend(nodes)
    for values in (graph.initializer, graph.input):
        unneeded = [index for index, value in enumerate(values) if value.name not in needed]
        for index in reversed(unneeded):
            del values[index]
