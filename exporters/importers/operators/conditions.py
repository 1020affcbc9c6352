"""ONNX's comparisons, what joins them, and choices by them, as torch functions."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import torch

from leansight.exporters.importers.operators.node import Activation, Step


def _of_operands(function: Callable[..., Any]) -> Callable[[Step], Activation]:
    """Write what is done place by place with activations and constants."""

    def write(step: Step) -> Activation:
        operands, order = step.operands()
        result = step.call(function, *operands, order=order)
        return replace(result, condition=step.node.op_type != "Where")

    return write


CONDITIONS: Final[Mapping[str, Callable[[Step], Activation]]] = {
    "And": _of_operands(torch.logical_and),
    "Equal": _of_operands(operator.eq),
    "Greater": _of_operands(operator.gt),
    "GreaterOrEqual": _of_operands(operator.ge),
    "Less": _of_operands(operator.lt),
    "LessOrEqual": _of_operands(operator.le),
    "Not": _of_operands(torch.logical_not),
    "Or": _of_operands(torch.logical_or),
    "Where": _of_operands(torch.where),
    "Xor": _of_operands(torch.logical_xor),
}
