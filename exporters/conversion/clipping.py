"""Clipping: bounds that no runtime has in int8, written as ReLU or ReLU6 of other numbers.

The layers before and behind take the factors and summands, so that int8 rounds nothing more.
"""

import math
from typing import Final

from torch import fx

from leansight.exporters.conversion.torch_graph import ATEN, input_of, replace

_CLIPS: Final = {ATEN.hardtanh.default, ATEN.clamp.default}
# What both runtimes compute in int8, in the layer before: ReLU, ReLU6, and TFLite's RELU_N1_TO_1.
_NATIVE: Final = {(0, math.inf), (0, 6), (-1, 1)}


def spread_bounds(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a clip to [low, high], of which one may be infinite, as a ReLU or ReLU6.

    With k = 6 / (high - low) it is relu6(k (x - low)) / k + low; without an upper bound
    relu(x - low) + low; without a lower one high - relu(high - x). A floor above zero stays: what
    is divided by, or has a root or logarithm, must not be rounded to zero.
    """
    if (bounds := _bounds(node)) is None or bounds in _NATIVE:
        return
    low, high = bounds
    if low > 0 or low >= high or bounds == (-math.inf, math.inf):
        return
    base, slope = low, 6 / (high - low)
    if math.inf in {-low, high}:
        base, slope = (high, -1.0) if low == -math.inf else (low, 1.0)
    call = module.graph.call_function
    with module.graph.inserting_before(node):
        moved = call(ATEN.add.Tensor, (input_of(node), -base)) if base else input_of(node)
        scaled = call(ATEN.mul.Tensor, (moved, slope)) if slope != 1 else moved
        if math.inf in {-low, high}:
            clipped = call(ATEN.relu.default, (scaled,))
        else:
            clipped = call(ATEN.hardtanh.default, (scaled, 0.0, 6.0))
        back = call(ATEN.mul.Tensor, (clipped, 1 / slope)) if slope != 1 else clipped
        result = call(ATEN.add.Tensor, (back, base)) if base else back
    replace(module, node, result)


def _bounds(node: fx.Node) -> tuple[float, float] | None:
    """Return the numbers that a node clips to; None if it does not, or not to numbers."""
    if node.target in _CLIPS:
        low, high = (*node.args[1:], None, None)[:2]
        if node.target is ATEN.hardtanh.default and len(node.args) == 1:
            low, high = -1, 1
    elif node.target is ATEN.clamp_min.default:
        low, high = node.args[1], None
    elif node.target is ATEN.clamp_max.default:
        low, high = None, node.args[1]
    else:
        return None
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    if not isinstance(low, int | float) or not isinstance(high, int | float) or node.kwargs:
        return None
    return low, high
