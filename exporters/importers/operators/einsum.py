"""ONNX's Einsum as a product of matrices or a dense layer, which int8 has."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Final

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from leansight.exporters.importers.operators.node import Activation, Constant, Step

_TWO: Final = 2  # what a product of matrices takes


def _einsum(step: Step) -> Activation:
    """Write a sum over products of two, whose axes are in both, in one alone, or summed over."""
    terms, given = _read_equation(step)
    operands = list(zip(terms, step.inputs, strict=True))
    if not isinstance(step.inputs[0], Activation):
        operands.reverse()  # a product is the same either way, and a layer's weights come second
    (one, first), (other, second) = operands
    assert isinstance(first, Activation)
    sizes = dict(zip(one, first.shape, strict=True))
    if second is not None:
        sizes |= dict(zip(other, second.shape, strict=True))
    both = [n for n in given if n in one and n in other]
    summed = [n for n in one if n in other and n not in given]
    lefts, rights = ([n for n in term if n not in (*both, *summed)] for term in (one, other))
    if not {*lefts, *rights} <= {*given}:
        raise _unread(step)
    call = step.graph.call_function
    left = _matrices(step, first, one, (both, lefts, summed), sizes)
    if isinstance(second, np.ndarray) and not both:
        rows = _in_order(second, other, (rights, summed), sizes)
        result = call(functional.linear, (left, step.weights(rows)))
    elif isinstance(second, np.ndarray):
        result = call(
            torch.matmul,
            (left, step.weights(_in_order(second, other, (both, summed, rights), sizes))),
        )
    else:
        assert isinstance(second, Activation)
        result = call(
            torch.matmul, (left, _matrices(step, second, other, (both, summed, rights), sizes))
        )
    order = [*both, *lefts, *rights]
    spread = call(torch.reshape, (result, tuple(sizes[n] for n in order)))
    return step.call(torch.permute, spread, tuple(order.index(n) for n in given))


def _read_equation(step: Step) -> tuple[list[str], str]:
    """Return a letter for each axis of the inputs, and those of the result."""
    equation = step.attributes["equation"].decode().replace(" ", "")
    taken, arrow, given = equation.partition("->")
    terms = taken.split(",")
    letters = "".join(terms)
    if not arrow:  # those that occur once, in alphabetical order
        given = "".join(sorted(n for n in letters if letters.count(n) == 1))
    if len(terms) != _TWO or "." in equation or any(len({*t}) < len(t) for t in (*terms, given)):
        raise _unread(step)
    return terms, given


def _unread(step: Step) -> Exception:
    equation = step.attributes["equation"].decode()
    return step.refuse(
        f"{equation} is not read: only sums over two inputs are, with no axis that one input alone "
        "has and the result has not"
    )


def _matrices(
    step: Step,
    value: Activation,
    term: str,
    groups: tuple[list[str], ...],
    sizes: Mapping[str, int],
) -> fx.Node:
    """Write an activation with its axes joined to three."""
    order = tuple(term.index(n) for group in groups for n in group)
    turned = step.graph.call_function(torch.permute, (step.in_order(value).node, order))
    shape = tuple(prod(sizes[n] for n in group) for group in groups)
    return step.graph.call_function(torch.reshape, (turned, shape))


def _in_order(
    value: Constant, term: str, groups: tuple[list[str], ...], sizes: Mapping[str, int]
) -> Constant:
    """Return a constant with its axes joined to as many as there are groups."""
    turned = value.transpose([term.index(n) for group in groups for n in group])
    return turned.reshape([prod(sizes[n] for n in group) for group in groups])


EINSUM: Final[Mapping[str, Callable[[Step], Activation]]] = {"Einsum": _einsum}
