"""ONNX's operators that move numbers and compute none, as torch functions."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import onnx
import torch
from torch.nn import functional

from leansight.exporters.importers.onnx_node import Activation, Step

_FLOAT: Final = onnx.TensorProto.FLOAT


def _same(step: Step) -> Activation:
    if step.node.op_type == "Cast" and step.attributes["to"] != _FLOAT:
        raise step.refuse("of numbers only float32 is read")
    return step.activation()


def _reshape(step: Step) -> Activation:
    source, shape = step.activation(), step.shapes[0]
    if shape == source.shape:
        return source
    if shape[:1] != source.shape[:1] or source.order[0] != 0:
        raise step.refuse(f"from {source.shape} to {shape}, which mixes the images of a batch")
    long = [at for axis, at in enumerate(source.order) if axis == 0 or source.shape[axis] > 1]
    node = (source if long == sorted(long) else step.plain()).node
    target = (-1, *shape[1:])  # the number of images is not the file's
    return step.call(torch.reshape, node, target, positive=source.positive)


def _transpose(step: Step) -> Activation:
    source = step.activation()
    axes = step.attributes.get("perm") or range(len(source.shape))[::-1]
    return replace(
        source,
        shape=tuple(source.shape[axis] for axis in axes),
        order=tuple(source.order[axis] for axis in axes),
    )


def _concat(step: Step) -> Activation:
    parts = [step.activation(i) for i in range(len(step.inputs))]
    if len({part.order for part in parts}) > 1:
        parts = [step.plain(i) for i in range(len(step.inputs))]
    axis = parts[0].order[step.attributes["axis"]]
    positive = all(part.positive for part in parts)
    nodes = tuple(part.node for part in parts)
    return step.call(torch.cat, nodes, axis, order=parts[0].order, positive=positive)


def _split(step: Step) -> list[Activation]:
    source, axis = step.activation(), step.attributes.get("axis", 0)
    sizes = [shape[axis] for shape in step.shapes]
    at = source.order[axis]
    return [
        replace(
            source,
            node=step.graph.call_function(torch.narrow, (source.node, at, sum(sizes[:i]), size)),
            shape=step.shapes[i],
            affine=False,
        )
        for i, size in enumerate(sizes)
    ]


def _slice(step: Step) -> Activation:
    source = step.activation()
    starts, ends = step.constant(1).tolist(), step.constant(2).tolist()
    axes, steps = step.optional(3), step.optional(4)
    if steps is not None and set(steps.tolist()) != {1}:
        raise step.refuse("steps other than 1 are not read")
    node = source.node
    numbers = range(len(starts)) if axes is None else axes.tolist()
    for axis, start, end in zip(numbers, starts, ends, strict=True):
        first, last, _ = slice(start, end).indices(source.shape[axis])
        arguments = (node, source.order[axis], first, last - first)
        node = step.graph.call_function(torch.narrow, arguments)
    return replace(source, node=node, shape=step.shapes[0], affine=False)


def _pad(step: Step) -> Activation:
    source, rank = step.activation(), len(step.shapes[0])
    if step.attributes.get("mode", b"constant") != b"constant" or step.optional(3) is not None:
        raise step.refuse("only padding of all sides with one number is read")
    pads, value = step.constant(1).tolist(), step.setting("value", 2, 0.0)
    sides = [0] * (2 * rank)  # torch begins with the last axis
    for axis, at in enumerate(source.order):
        sides[2 * (rank - 1 - at)] = pads[axis]
        sides[2 * (rank - 1 - at) + 1] = pads[rank + axis]
    arguments = (source.node, tuple(sides), "constant", value)
    positive = source.positive and value >= 0
    return step.call(functional.pad, *arguments, order=source.order, positive=positive)


SHAPES: Final[Mapping[str, Callable[[Step], Activation | list[Activation]]]] = {
    "Cast": _same,
    "Concat": _concat,
    "Dropout": _same,
    "Flatten": _reshape,
    "Identity": _same,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
