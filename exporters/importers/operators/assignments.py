"""ONNX's operator that writes a part of a tensor, `x[:, 1:] = y`, as torch functions."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from leansight.exporters.importers.operators.node import Activation, Constant, Step


def _scatter(step: Step) -> Activation:
    """Write an assignment in operators that int8 has: joined parts, or sums with constants."""
    if step.attributes.get("reduction", b"none") != b"none":
        raise step.refuse("only an assignment is read, not a sum or another reduction")
    shape, (whole, _, given) = step.shapes[0], step.inputs
    starts, part = _box(step, step.constant(1), shape)
    box = tuple(slice(at, at + length) for at, length in zip(starts, part, strict=True))
    if isinstance(given, np.ndarray):
        outside = np.ones(shape)
        outside[box] = 0
        rest = step.graph.call_function(operator.mul, (step.plain().node, step.weights(outside)))
        inside = np.zeros(shape)
        inside[box] = given.reshape(part)
        return step.call(operator.add, rest, step.weights(inside))
    values = step.graph.call_function(torch.reshape, (step.plain(2).node, part))
    if isinstance(whole, np.ndarray):
        return _within_constant(step, whole, values, box)
    joined = _between(step.graph, step.plain().node, values, starts, part, shape)
    return Activation(node=joined, shape=shape, order=tuple(range(len(shape))))


def _box(
    step: Step, indices: Constant, shape: Sequence[int]
) -> tuple[Sequence[int], tuple[int, ...]]:
    """Return where the part begins along each axis, and its shape: indices (..., axes)."""
    axes = indices.shape[-1]
    places = indices.reshape(-1, axes) % np.array(shape[:axes])
    starts = places.min(0)
    size = places.max(0) - starts + 1
    if not np.array_equal(places, np.indices(size).reshape(axes, -1).T + starts):
        raise step.refuse("only an assignment to places that follow each other is read")
    behind = shape[axes:]
    return (*starts.tolist(), *(0 for _ in behind)), (*size.tolist(), *behind)


def _within_constant(
    step: Step, whole: Constant, values: fx.Node, box: Sequence[slice]
) -> Activation:
    around = whole.astype(np.float32)
    around[tuple(box)] = 0
    sides = [
        side
        for cut, length in reversed([*zip(box, around.shape, strict=True)])
        for side in (cut.start, length - cut.stop)
    ]
    padded = step.graph.call_function(functional.pad, (values, tuple(sides)))
    return step.call(operator.add, padded, step.weights(around))


def _between(
    graph: fx.Graph,
    whole: fx.Node,
    values: fx.Node,
    starts: Sequence[int],
    part: Sequence[int],
    shape: Sequence[int],
) -> fx.Node:
    """Put values between what is before and behind them along each axis, the last one first."""
    call = graph.call_function
    around: list[tuple[int, list[fx.Node], list[fx.Node]]] = []
    for axis, (start, length) in enumerate(zip(starts, part, strict=True)):
        if length < shape[axis]:
            ends = (0, start), (start + length, shape[axis] - start - length)
            before, behind = (
                [call(torch.narrow, (whole, axis, *end))] if end[1] else [] for end in ends
            )
            around.append((axis, before, behind))
            whole = call(torch.narrow, (whole, axis, start, length))
    for axis, before, behind in reversed(around):
        values = call(torch.cat, ((*before, values, *behind), axis))
    return values


ASSIGNMENTS: Final[Mapping[str, Callable[[Step], Activation]]] = {"ScatterND": _scatter}
