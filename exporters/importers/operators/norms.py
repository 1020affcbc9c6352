"""ONNX's normalisations as torch functions."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch.nn import functional

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.importers.operators.node import Activation, Step

_EPSILON: Final = 1e-5  # where a file does not say


def _batch_norm(step: Step) -> Activation:
    source = step.activation()
    if source.order[1] != 1:
        source = step.plain()
    factor, summand, mean, variance = (step.weights(step.constant(i)) for i in range(1, 5))
    epsilon = step.attributes.get("epsilon", _EPSILON)
    arguments = (source.node, mean, variance, factor, summand, False, 0.0, epsilon)
    result = step.like(source, functional.batch_norm, *arguments)
    return replace(result, affine=source.affine)


def _layer_norm(step: Step) -> Activation:
    """Write the norm over the last axes; torch's channels, which are first, are turned and back."""
    source, plain = step.activation(), step.plain()
    rank = len(source.shape)
    shape = source.shape[step.attributes.get("axis", -1) % rank :]
    parts = [
        None if part is None else step.weights(np.broadcast_to(part, shape).copy())
        for part in (step.constant(1), step.optional(2))
    ]
    epsilon = step.attributes.get("epsilon", _EPSILON)
    result = step.like(plain, functional.layer_norm, plain.node, shape, *parts, epsilon)
    if source.is_plain:
        return result
    back = tuple(source.order.index(at) for at in range(rank))
    return step.like(source, torch.permute, result.node, back)


def _instance_norm(step: Step) -> Activation:
    return _group_norm(step, groups=step.activation().shape[1])


def _group_norm(step: Step, groups: int = 0) -> Activation:
    source, groups = step.plain(), groups or step.attributes["num_groups"]
    weight, bias = (step.constant(i) for i in (1, 2))
    spread = [np.repeat(part, source.shape[1] // len(part)) for part in (weight, bias)]
    parts = [step.weights(part) for part in spread]
    epsilon = step.attributes.get("epsilon", _EPSILON)
    return step.like(source, functional.group_norm, source.node, groups, *parts, epsilon)


def _local_response_norm(step: Step) -> Activation:
    """Write the norm over neighbouring channels, x / (k + a Σ x²)ᵇ, as AlexNet has it."""
    source, size = step.plain(axes=IMAGE_AXES), step.attributes["size"]
    channels = source.shape[1]
    apart = np.arange(channels) - np.arange(channels)[:, None]
    near = (apart >= -((size - 1) // 2)) & (apart <= size - 1 - (size - 1) // 2)
    share = step.attributes.get("alpha", 1e-4) / size
    kernel, added = (
        near[:, :, None, None] * share,
        np.full(channels, step.attributes.get("bias", 1.0)),
    )
    call = step.graph.call_function
    squares = call(operator.mul, (source.node, source.node))
    spread = call(functional.conv2d, (squares, step.weights(kernel), step.weights(added)))
    divisor = call(torch.pow, (spread, step.attributes.get("beta", 0.75)))
    return step.call(operator.truediv, source.node, divisor, positive=source.positive)


def _root_mean_square_norm(step: Step) -> Activation:
    """Write x / √(mean of x² + ε) over the last axes, times its scale."""
    source = step.plain()
    axes = tuple(range(step.attributes.get("axis", -1) % len(source.shape), len(source.shape)))
    call, keep = step.graph.call_function, True
    squares = call(torch.mean, (call(operator.mul, (source.node, source.node)), axes, keep))
    raised = call(operator.add, (squares, step.attributes.get("epsilon", _EPSILON)))
    normal = call(operator.mul, (source.node, call(torch.rsqrt, (raised,))))
    return step.like(source, operator.mul, normal, step.weights(step.constant(1)))


NORMS: Final[Mapping[str, Callable[[Step], Activation]]] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response_norm,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _root_mean_square_norm,
}
