"""Operators that ONNX Runtime's optimizer made of standard ones become these again.

A file that was saved after its "extended" optimizations holds them, in the domain com.microsoft.
Source: docs/ContribOperators.md of ONNX Runtime.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

DOMAIN: Final = "com.microsoft"
_FAST: Final = math.sqrt(2 / math.pi)


class _Parts:
    """The standard operators that one fused operator stands for, in their order."""

    def __init__(self, fused: onnx.NodeProto, ranks: Mapping[str, int]) -> None:
        self.fused, self.ranks = fused, ranks
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.attributes: dict[str, Any] = {
            attribute.name: helper.get_attribute_value(attribute) for attribute in fused.attribute
        }

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 -- ONNX's
        """Add an operator; return what its result is called."""
        name = f"{self.fused.name or self.fused.output[0]}/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def number(self, value: float) -> str:
        """Return the name of a constant."""
        name = f"{self.fused.output[0]}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def optional(self, place: int) -> str:
        """Return the name of an input, "" where it is left out."""
        return self.fused.input[place] if place < len(self.fused.input) else ""


def _fused_conv(parts: _Parts) -> str:
    own = ("activation", "activation_params")
    settings = {key: value for key, value in parts.attributes.items() if key not in own}
    inputs = [name for name in parts.fused.input[:3] if name]
    result = parts.add("Conv", *inputs, **settings)
    if summand := parts.optional(3):
        result = parts.add("Add", result, summand)
    return _activated(parts, result, parts.attributes.get("activation_params", []))


def _fused_gemm(parts: _Parts) -> str:
    settings = {k: v for k, v in parts.attributes.items() if not k.startswith("activation")}
    result = parts.add("Gemm", *filter(None, parts.fused.input), **settings)
    numbers = [parts.attributes[k] for k in sorted(parts.attributes) if k.startswith("activation_")]
    return _activated(parts, result, numbers)


def _activated(parts: _Parts, value: str, numbers: Sequence[float]) -> str:
    kind = parts.attributes.get("activation", b"").decode()
    match kind, list(numbers):
        case "", _:
            return value
        case "Clip", [low, high]:
            return parts.add("Clip", value, parts.number(low), parts.number(high))
        case "LeakyRelu" | "Elu", [alpha]:
            return parts.add(kind, value, alpha=alpha)
        case "HardSigmoid", [alpha, beta]:
            return parts.add(kind, value, alpha=alpha, beta=beta)
    return parts.add(kind, value)


def _fused_matmul(parts: _Parts) -> str | None:
    settings = parts.attributes
    if settings.get("transBatchA") or settings.get("transBatchB"):
        return None
    factors = []
    for name, is_transposed in zip(parts.fused.input, ("transA", "transB"), strict=True):
        rank = parts.ranks.get(name, 0)
        if not settings.get(is_transposed):
            factors.append(name)
        elif rank > 1:
            axes = [*range(rank - 2), rank - 1, rank - 2]
            factors.append(parts.add("Transpose", name, perm=axes))
        else:
            return None
    return _scaled(parts, parts.add("MatMul", *factors))


def _scaled(parts: _Parts, value: str) -> str:
    alpha = parts.attributes.get("alpha", 1.0)
    return value if alpha == 1 else parts.add("Mul", value, parts.number(alpha))


def _gelu(parts: _Parts) -> str:
    value = parts.fused.input[0]
    if parts.optional(1):
        value = parts.add("Add", value, parts.optional(1))
    spread = parts.add("Div", value, parts.number(math.sqrt(2)))
    share = parts.add("Add", parts.add("Erf", spread), parts.number(1))
    return parts.add("Mul", parts.add("Mul", value, share), parts.number(0.5))


def _fast_gelu(parts: _Parts) -> str:
    value = parts.fused.input[0]
    if parts.optional(1):
        value = parts.add("Add", value, parts.optional(1))
    cube = parts.add(
        "Mul", parts.add("Mul", parts.add("Mul", value, value), value), parts.number(0.044715)
    )
    bent = parts.add("Tanh", parts.add("Mul", parts.add("Add", value, cube), parts.number(_FAST)))
    share = parts.add("Add", bent, parts.number(1))
    return parts.add("Mul", parts.add("Mul", value, share), parts.number(0.5))


def _quick_gelu(parts: _Parts) -> str:
    value = parts.fused.input[0]
    steep = parts.add("Mul", value, parts.number(parts.attributes.get("alpha", 1.702)))
    return parts.add("Mul", value, parts.add("Sigmoid", steep))


_PARTS: Final[Mapping[str, Callable[[_Parts], str | None]]] = {
    "BiasGelu": _gelu,
    "FastGelu": _fast_gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
}


def split_fused(model: onnx.ModelProto) -> set[str]:
    """Write fused operators as standard ones, in place; return the names of those that were."""
    if not any(node.domain == DOMAIN for node in model.graph.node):
        return set()
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer} | {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*model.graph.value_info, *model.graph.input)
    }
    nodes, split = [], set()
    for node in model.graph.node:
        parts = _Parts(node, ranks)
        write = _PARTS.get(node.op_type) if node.domain == DOMAIN else None
        result = write(parts) if write else None
        if result is None:
            nodes.append(node)
            continue
        split.add(node.op_type)
        parts.nodes[-1].output[0] = node.output[0]
        nodes += parts.nodes
        model.graph.initializer.extend(parts.constants)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return split
