"""ONNX's Einsum as a product of matrices or a dense layer, which int8 has."""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Final

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from leansight.exporters.importers.operators.node import Activation, Constant, Step

Operand = tuple[str, Activation | Constant]  # a letter for each axis, and what has these axes


def _einsum(step: Step) -> Activation:
    """Write a sum over products of two, whose axes are in both, in one alone, or summed over."""
    operands, given = _read_equation(step)
    operands = [_without_idle_axes(step, operands, i, given) for i in range(len(operands))]
    if not isinstance(operands[0][1], Activation):
        operands.reverse()  # a product is the same either way, and a layer's weights come second
    one, first = operands[0]
    assert isinstance(first, Activation)
    call = step.graph.call_function
    if len(operands) == 1:
        node = step.in_order(first).node
        return step.call(torch.permute, node, tuple(one.index(n) for n in given))
    other, second = operands[1]
    sizes = dict(zip(one, first.shape, strict=True))
    sizes_of_second = dict(zip(other, second.shape, strict=True))
    if any(sizes[n] != sizes_of_second[n] for n in sizes.keys() & sizes_of_second.keys()):
        raise _unread(step)
    sizes |= sizes_of_second
    both = [n for n in given if n in one and n in other]
    summed = [n for n in one if n in other and n not in given]
    lefts, rights = ([n for n in term if n not in (*both, *summed)] for term in (one, other))
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
        result = call(
            torch.matmul, (left, _matrices(step, second, other, (both, summed, rights), sizes))
        )
    order = [*both, *lefts, *rights]
    spread = call(torch.reshape, (result, tuple(sizes[n] for n in order)))
    return step.call(torch.permute, spread, tuple(order.index(n) for n in given))


def _read_equation(step: Step) -> tuple[list[Operand], str]:
    """Return the inputs with a letter for each axis, and the letters of the result."""
    equation = step.attributes["equation"].decode().replace(" ", "")
    taken, arrow, given = equation.partition("->")
    values = [value for value in step.inputs if value is not None]
    terms = taken.split(",")
    if len(terms) != len(values) or len(terms) > 2:  # noqa: PLR2004 -- what a product takes
        raise _unread(step)
    free = [n for n in string.ascii_letters if n not in equation]
    longest = max(
        len(v.shape) - len(t.replace("...", "")) for t, v in zip(terms, values, strict=True)
    )
    rest = "".join(free[:longest]) if "." in equation else ""
    terms = [
        term.replace("...", rest[len(rest) - (len(value.shape) - len(term.replace("...", ""))) :])
        for term, value in zip(terms, values, strict=True)
    ]
    letters = "".join(terms)
    if not arrow:  # those that occur once, in alphabetical order, behind those of the dots
        given = "..." + "".join(
            sorted(n for n in letters if letters.count(n) == 1 and n not in rest)
        )
    given = given.replace("...", rest)
    if any(len({*term}) < len(term) for term in (*terms, given)):
        raise _unread(step)
    return list(zip(terms, values, strict=True)), given


def _without_idle_axes(step: Step, operands: Sequence[Operand], index: int, given: str) -> Operand:
    """Sum over the axes that one input alone has, and the result has not."""
    term, value = operands[index]
    others = {n for at, (other, _) in enumerate(operands) for n in other if at != index}
    idle = tuple(at for at, n in enumerate(term) if n not in others and n not in given)
    left = "".join(n for at, n in enumerate(term) if at not in idle)
    if not idle:
        return term, value
    if isinstance(value, np.ndarray):
        return left, np.asarray(value.sum(idle))  # a constant of no axes is one, too
    shape = tuple(length for at, length in enumerate(value.shape) if at not in idle)
    node = step.graph.call_function(torch.sum, (step.in_order(value).node, idle))
    return left, replace(
        value, node=node, shape=shape, order=tuple(range(len(shape))), affine=False
    )


def _unread(step: Step) -> Exception:
    equation = step.attributes["equation"].decode()
    return step.refuse(
        f"{equation} is not read: only sums over one input or two are, with each letter once in "
        "each, and as many places along it in both"
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
