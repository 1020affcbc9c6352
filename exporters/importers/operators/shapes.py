"""ONNX's operators that move numbers and compute none, as torch functions."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

import numpy as np
import onnx
import torch
from torch import fx
from torch.nn import functional

from leansight.exporters.importers.operators.node import Activation, Step

_FLOAT: Final = onnx.TensorProto.FLOAT
_PADDING: Final = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def _same(step: Step) -> Activation:
    if step.node.op_type != "Cast":
        return step.activation()
    if step.attributes["to"] != _FLOAT:
        raise step.refuse("of numbers only float32 is read")
    source = step.activation()
    return step.like(source, torch.Tensor.float, source.node) if source.condition else source


def _reshape(step: Step) -> Activation:
    source, shape = step.activation(), step.shapes[0]
    if shape == source.shape:
        return source
    long = [at for axis, at in enumerate(source.order) if source.shape[axis] > 1]
    node = (source if long == sorted(long) else step.plain()).node
    return step.call(torch.reshape, node, shape, positive=source.positive)


def _transpose(step: Step) -> Activation:
    source = step.activation()
    axes = list(step.attributes.get("perm") or range(len(source.shape))[::-1])
    return replace(
        source,
        shape=tuple(source.shape[axis] for axis in axes),
        order=tuple(source.order[axis] for axis in axes),
    )


def _expand(step: Step) -> Activation:
    source, shape = step.plain(), step.shapes[0]
    return step.call(torch.Tensor.expand, source.node, shape, positive=source.positive)


def _concat(step: Step) -> Activation:
    computed = [i for i, value in enumerate(step.inputs) if isinstance(value, Activation)]
    if len(computed) < len(step.inputs):
        return _concat_with_constants(step)
    parts = [step.activation(i) for i in computed]
    if len({part.order for part in parts}) > 1:
        parts = [step.plain(i) for i in computed]
    axis = step.attributes["axis"] % len(parts[0].shape)
    positive = all(part.positive for part in parts)
    nodes = tuple(part.node for part in parts)
    return step.like(parts[0], torch.cat, nodes, parts[0].order[axis], positive=positive)


def _concat_with_constants(step: Step) -> Activation:
    """Write a concatenation with constants, such as a class token, as padding and a sum."""
    axis = step.attributes["axis"] % len(step.shapes[0])
    parts: list[tuple[fx.Node, int, int]] = []  # what is computed, and zeros before and behind it
    before, constants = 0, []
    for i, value in enumerate(step.inputs):
        if isinstance(value, Activation):
            parts.append((step.plain(i).node, before, 0))
            before = 0
            constants.append(np.zeros(value.shape))
        else:
            constants.append(step.constant(i))
            length = constants[-1].shape[axis]
            if parts:
                node, first, behind = parts[-1]
                parts[-1] = node, first, behind + length
            else:
                before += length
    sides = [(0, 0)] * (len(step.shapes[0]) - 1 - axis)  # torch begins with the last axis
    call = step.graph.call_function
    padded = tuple(
        call(functional.pad, (node, tuple(chain(*sides, ends)))) if any(ends) else node
        for node, *ends in parts
    )
    node = call(torch.cat, (padded, axis)) if len(padded) > 1 else padded[0]
    return step.call(operator.add, node, step.weights(np.concatenate(constants, axis)))


def _split(step: Step) -> list[Activation]:
    source, axis = step.activation(), step.attributes.get("axis", 0)
    sizes = [shape[axis] for shape in step.shapes]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [
        replace(_part(step, source, axis, start, size), shape=shape)
        for start, size, shape in zip(starts, sizes, step.shapes, strict=True)
    ]


def _part(step: Step, source: Activation, axis: int, first: int, size: int) -> Activation:
    """Write a part of an axis; no call where it is all of it."""
    axis %= len(source.shape)
    if (first, size) == (0, source.shape[axis]):
        return source
    arguments = (source.node, source.order[axis], first, size)
    return step.like(source, torch.narrow, *arguments, positive=source.positive)


def _slice(step: Step) -> Activation:
    source = step.activation()
    starts, ends = step.setting("starts", 1, []), step.setting("ends", 2, [])
    axes = step.setting("axes", 3, list(range(len(starts))))
    steps = step.setting("steps", 4, [1] * len(starts))
    for axis, start, end, stride in zip(axes, starts, ends, steps, strict=True):
        first, last, _ = slice(start, end, stride).indices(source.shape[axis])
        if stride == 1:
            source = _part(step, source, axis, first, last - first)
        elif stride > 1:
            cuts = [slice(None)] * len(source.shape)
            cuts[source.order[axis]] = slice(first, last, stride)
            arguments = (source.node, tuple(cuts))
            source = step.like(source, operator.getitem, *arguments, positive=source.positive)
        else:
            source = _chosen(step, source, axis, range(first, last, stride))
    return source


def _chosen(step: Step, source: Activation, axis: int, places: Sequence[int]) -> Activation:
    """Write some places of an axis, in any order."""
    first = places[0]
    if [*places] == [*range(first, first + len(places))]:
        return _part(step, source, axis, first, len(places))
    arguments = (source.node, source.order[axis], step.places(places))
    return step.like(source, torch.index_select, *arguments, positive=source.positive)


def _gather(step: Step) -> Activation:
    source, indices = step.activation(), step.constant(1)
    axis = step.attributes.get("axis", 0) % len(source.shape)
    places = [int(place) % source.shape[axis] for place in indices.reshape(-1)]
    if source.shape == (len(places),) and places == [*range(len(places))]:
        return _reshape(step)  # of all in their order: torch's as_strided
    part = _chosen(step, source, axis, places)
    if indices.ndim == 1:
        return part
    node = step.in_order(part).node
    return step.call(torch.reshape, node, step.shapes[0], positive=part.positive)


def _tile(step: Step) -> Activation:
    """Write an axis that is repeated as a concatenation, which both formats have in int8."""
    source, times = step.activation(), step.constant(1)
    for axis, count in enumerate(times.tolist()):
        if count > 1:
            parts = (source.node,) * count
            source = step.like(
                source, torch.cat, parts, source.order[axis], positive=source.positive
            )
    return source


def _pad(step: Step) -> Activation:
    rank = len(step.shapes[0])
    mode = _PADDING.get(step.attributes.get("mode", b"constant").decode())
    if mode is None:
        raise step.refuse("only padding with one number, a reflection or the edge is read")
    source = step.activation() if mode == "constant" else step.plain()
    pads, value = step.setting("pads", 1, []), step.setting("value", 2, 0.0)
    axes = step.setting("axes", 3, list(range(rank)))
    sides = [0] * (2 * rank)  # torch begins with the last axis
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        at = 2 * (rank - 1 - source.order[axis])
        sides[at : at + 2] = before, after
    if mode == "constant":
        positive = source.positive and value >= 0
        return step.like(
            source, functional.pad, source.node, tuple(sides), mode, value, positive=positive
        )
    if any(sides[4:]):
        raise step.refuse("a reflection or the edge is read of height and width only")
    return step.like(
        source, functional.pad, source.node, tuple(sides[:4]), mode, positive=source.positive
    )


SHAPES: Final[Mapping[str, Callable[[Step], Activation | list[Activation]]]] = {
    "Cast": _same,
    "Concat": _concat,
    "Dropout": _same,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Identity": _same,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshape,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
