"""ONNX's operators that move numbers and compute none, as torch functions."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import onnx
import torch
from torch.nn import functional

from leansight.exporters.importers.onnx_node import Activation, Step

_FLOAT: Final = onnx.TensorProto.FLOAT
_PADDING: Final = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def _same(step: Step) -> Activation:
    if step.node.op_type == "Cast" and step.attributes["to"] != _FLOAT:
        raise step.refuse("of numbers only float32 is read")
    return step.activation()


def _reshape(step: Step) -> Activation:
    source, shape = step.activation(), step.shapes[0]
    return source if shape == source.shape else _reshaped(step, _batch_after(step))


def _reshaped(step: Step, batch: int) -> Activation:
    """Write the numbers in another shape, whose images follow each other on axis `batch`."""
    source, shape = step.activation(), step.shapes[0]
    long = [
        at for axis, at in enumerate(source.order) if axis == source.batch or source.shape[axis] > 1
    ]
    node = (source if long == sorted(long) else step.plain()).node
    target = (*shape[:batch], -1, *shape[batch + 1 :])  # the number of images is not the file's
    return step.call(torch.reshape, node, target, batch=batch, positive=source.positive)


def _batch_after(step: Step) -> int:
    """Return the axis on which the images follow each other after a reshape."""
    source, shape = step.activation(), step.shapes[0]
    before = math.prod(source.shape[: source.batch])
    for axis in range(len(shape)):
        if math.prod(shape[:axis]) == before:
            return axis
    raise step.refuse(f"from {source.shape} to {shape} it mixes the images of a batch")


def _squeeze(step: Step) -> Activation:
    source = step.activation()
    axes = step.setting("axes", 1, [])
    left_out = {axis % len(source.shape) for axis in axes}
    if not axes or source.batch in left_out:
        return _reshape(step)
    return _reshaped(step, source.batch - sum(axis < source.batch for axis in left_out))


def _unsqueeze(step: Step) -> Activation:
    rank = len(step.shapes[0])
    added = {axis % rank for axis in step.setting("axes", 1, [])}
    kept = [axis for axis in range(rank) if axis not in added]
    return _reshaped(step, kept[step.activation().batch])


def _transpose(step: Step) -> Activation:
    source = step.activation()
    axes = list(step.attributes.get("perm") or range(len(source.shape))[::-1])
    return replace(
        source,
        shape=tuple(source.shape[axis] for axis in axes),
        order=tuple(source.order[axis] for axis in axes),
        batch=axes.index(source.batch),
    )


def _expand(step: Step) -> Activation:
    source, shape = step.plain(), step.shapes[0]
    if len(shape) != len(source.shape) or shape[source.batch] != source.shape[source.batch]:
        raise step.refuse("only other axes than those of the images are expanded")
    sizes = tuple(-1 if n == old else n for n, old in zip(shape, source.shape, strict=True))
    return step.like(source, torch.Tensor.expand, source.node, sizes, positive=source.positive)


def _concat(step: Step) -> Activation:
    computed = [i for i, value in enumerate(step.inputs) if isinstance(value, Activation)]
    if len(computed) < len(step.inputs):
        return _concat_with_constants(step, computed)
    parts = [step.activation(i) for i in computed]
    if len({part.order for part in parts}) > 1:
        parts = [step.plain(i) for i in computed]
    axis = step.attributes["axis"] % len(parts[0].shape)
    if {part.batch for part in parts} != {parts[0].batch} or axis == parts[0].batch:
        raise step.refuse("it mixes the images of a batch")
    positive = all(part.positive for part in parts)
    nodes = tuple(part.node for part in parts)
    return step.like(parts[0], torch.cat, nodes, parts[0].order[axis], positive=positive)


def _concat_with_constants(step: Step, computed: Sequence[int]) -> Activation:
    """Write a concatenation with constants, such as a class token, as padding and a sum."""
    shape = step.shapes[0]
    axis = step.attributes["axis"] % len(shape)
    if len(computed) != 1:
        raise step.refuse("constants between more than one activation are not read")
    source = step.plain(computed[0])
    if axis == source.batch:
        raise step.refuse("it mixes the images of a batch")
    sizes = [
        source.shape[axis] if i in computed else step.constant(i).shape[axis]
        for i in range(len(step.inputs))
    ]
    parts = [
        np.zeros(source.shape) if i in computed else step.constant(i)
        for i in range(len(step.inputs))
    ]
    sides = [0] * (2 * len(shape))  # torch begins with the last axis
    at = 2 * (len(shape) - 1 - axis)
    sides[at], sides[at + 1] = sum(sizes[: computed[0]]), sum(sizes[computed[0] + 1 :])
    padded = step.graph.call_function(functional.pad, (source.node, tuple(sides)))
    added = step.weights(np.concatenate(parts, axis))
    return step.like(source, operator.add, padded, added)


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
    if axis == source.batch:
        raise step.refuse("it takes some images of a batch")
    arguments = (source.node, source.order[axis], first, size)
    return step.like(source, torch.narrow, *arguments, positive=source.positive)


def _slice(step: Step) -> Activation:
    source = step.activation()
    starts, ends = step.setting("starts", 1, []), step.setting("ends", 2, [])
    axes = step.setting("axes", 3, list(range(len(starts))))
    steps = step.setting("steps", 4, [1] * len(starts))
    for axis, start, end, stride in zip(axes, starts, ends, steps, strict=True):
        first, last, _ = slice(start, end).indices(source.shape[axis])
        if stride == 1:
            source = _part(step, source, axis, first, last - first)
        elif stride > 1 and axis % len(source.shape) != source.batch:
            cuts = [slice(None)] * len(source.shape)
            cuts[source.order[axis]] = slice(first, last, stride)
            arguments = (source.node, tuple(cuts))
            source = step.like(source, operator.getitem, *arguments, positive=source.positive)
        else:
            raise step.refuse("it turns an axis around, or takes some images of a batch")
    return source


def _gather(step: Step) -> Activation:
    source, indices = step.activation(), step.constant(1)
    axis = step.attributes.get("axis", 0) % len(source.shape)
    if source.shape == (indices.size,) and (indices.reshape(-1) == np.arange(indices.size)).all():
        return _reshaped(step, _batch_after(step))  # of all in their order: torch's as_strided
    if axis == source.batch or indices.ndim > 1:
        raise step.refuse("it takes some images of a batch, or places of more than one axis")
    places = [int(place) % source.shape[axis] for place in indices.reshape(-1)]
    if places == list(range(places[0], places[0] + len(places))):
        part = _part(step, source, axis, places[0], len(places))
    else:
        chosen = step.places(places)
        at, positive = source.order[axis], source.positive
        part = step.like(source, torch.index_select, source.node, at, chosen, positive=positive)
    if indices.ndim:
        return part
    at = source.order[axis]
    left = [other for i, other in enumerate(source.order) if i != axis]
    order = tuple(other - (other > at) for other in left)
    batch = source.batch - (source.batch > axis)
    arguments = (part.node, at)
    return step.call(torch.squeeze, *arguments, order=order, batch=batch, positive=part.positive)


def _pad(step: Step) -> Activation:
    source, rank = step.activation(), len(step.shapes[0])
    mode = _PADDING.get(step.attributes.get("mode", b"constant").decode())
    if mode is None or step.optional(3) is not None:
        raise step.refuse(
            "only padding of all axes with one number, a reflection or the edge is read"
        )
    pads, value = step.setting("pads", 1, []), step.setting("value", 2, 0.0)
    sides = [0] * (2 * rank)  # torch begins with the last axis
    for axis, at in enumerate(source.order):
        sides[2 * (rank - 1 - at)] = pads[axis]
        sides[2 * (rank - 1 - at) + 1] = pads[rank + axis]
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
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
