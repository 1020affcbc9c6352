"""What ends a graph behind its logits: a softmax or a sigmoid, also one that is written out."""

from collections.abc import Mapping
from typing import Final, Literal

import onnx
from onnx import helper, numpy_helper

from leansight.exporters.importers.preparation.chosen_output import MOVES

End = Literal["logits", "softmax", "log-softmax", "sigmoid"]
_ENDS: Final[Mapping[str, End]] = {
    "Softmax": "softmax",
    "LogSoftmax": "log-softmax",
    "Sigmoid": "sigmoid",
}
Producers = Mapping[str, onnx.NodeProto]


def cut_end(model: onnx.ModelProto) -> End:
    """Leave out, in place, what makes probabilities of the logits, and say which it was.

    Args:
        model: with the shape of every tensor, for one image.

    """
    producers = {name: node for node in model.graph.node for name in node.output}
    node = producers.get(model.graph.output[0].name)
    bounds = []
    while node is not None and (node.op_type in MOVES or node.op_type == "Clip"):
        bounds += [node] * (node.op_type == "Clip")
        node = producers.get(node.input[0])
    if node is None:
        return "logits"
    end, source = _ENDS.get(node.op_type, "logits"), node.input[0]
    single = {
        value.name
        for value in model.graph.value_info
        if value.type.tensor_type.HasField("shape")
        and all(dim.dim_value == 1 for dim in value.type.tensor_type.shape.dim)
    }
    if (written_out := _written_out(node, producers)) and node.input[1] in single:
        end, source = "softmax", written_out
    is_probability = end in {"softmax", "sigmoid"}
    if end == "logits" or not all(is_probability and _is_idle(model, clip) for clip in bounds):
        return "logits"
    for left_out, given in ((node, source), *((clip, clip.input[0]) for clip in bounds)):
        left_out.CopyFrom(helper.make_node("Identity", [given], left_out.output, left_out.name))
    return end


def _written_out(node: onnx.NodeProto, producers: Producers) -> str:
    """Return what a softmax takes that ends in `node`, exp(x - max) / sum; "" for another node."""
    if node.op_type != "Div":
        return ""
    powers, total = (producers.get(name) for name in node.input)
    if powers is None or total is None or (powers.op_type, total.op_type) != ("Exp", "ReduceSum"):
        return ""
    if total.input[0] != powers.output[0]:
        return ""
    shifted = producers.get(powers.input[0])
    if shifted is not None and shifted.op_type == "Sub":
        largest = producers.get(shifted.input[1])
        if largest is not None and largest.op_type == "ReduceMax":
            return str(shifted.input[0])
    return str(powers.input[0])


def _is_idle(model: onnx.ModelProto, clip: onnx.NodeProto) -> bool:
    """Whether a Clip leaves numbers from 0 to 1 as they are."""
    constants = {constant.name: constant for constant in model.graph.initializer}
    attributes = {a.name: helper.get_attribute_value(a) for a in clip.attribute}
    low, high = attributes.get("min", 0.0), attributes.get("max", 1.0)
    given = [*clip.input[1:], "", ""][:2]
    if not all(name in constants for name in given if name):
        return False
    low, high = (
        numpy_helper.to_array(constants[name]).item() if name else otherwise
        for name, otherwise in zip(given, (low, high), strict=True)
    )
    return bool(low <= 0 and high >= 1)
