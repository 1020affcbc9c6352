"""Transposed convolutions as ordinary ones, of which each gives a block of pixels.

Pixels that are a stride apart get the same weights of the kernel: a convolution gives all of a
block at once as channels (Shi et al., arXiv 1609.05158, section 3), and moving them is exact. In
int8 neither format has transposed convolutions as the other; TFLite's converter has few of them.
"""

from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, fx

from leansight.exporters.conversion.torch_graph import (
    ATEN,
    add_constants,
    both,
    input_of,
    replace,
    value_of,
)

_DEFAULTS: Final[list[Any]] = [None, [1, 1], [0, 0], [0, 0], 1, [1, 1]]  # from the bias on


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """One axis of the convolution: `blocks` of `stride` pixels, from `taps` pixels each.

    `places[t][r]` is the weight of tap t for pixel r of a block, None where there is none.
    """

    stride: int
    size: int
    blocks: int
    before: int
    after: int
    places: list[list[int | None]]


def write_transposed_as_blocks(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a transposed convolution as a convolution whose channels become blocks of pixels."""
    if node.target is not ATEN.conv_transpose2d.input:
        return
    source, weight, *given = node.args
    settings = [*given, *_DEFAULTS[len(given) :]]
    bias_node, stride, padding, _, groups, dilation = settings
    kernel, bias = value_of(module, weight), value_of(module, bias_node)
    assert kernel is not None
    before, after = input_of(node).meta["val"].shape[2:], node.meta["val"].shape[2:]
    axes = [
        _axis(kernel.shape[2 + n], stride_n, padding_n, dilation_n, before[n], after[n])
        for n, (stride_n, padding_n, dilation_n) in enumerate(
            zip(both(stride), both(padding), both(dilation), strict=True)
        )
    ]
    blocks, channels = _block_kernel(kernel, groups, axes), groups * kernel.shape[1]
    down, along = axes
    repeated = None if bias is None else bias.repeat_interleave(down.stride * along.stride)
    constants = add_constants(module, node, blocks, *([] if repeated is None else [repeated]))
    call, sides = module.graph.call_function, (along.before, along.after, down.before, down.after)
    with module.graph.inserting_before(node):
        padded: Any = (
            call(ATEN.constant_pad_nd.default, (source, [*sides])) if any(sides) else source
        )
        steps = ([1, 1], [0, 0], [1, 1], groups)
        given_at_once = call(ATEN.conv2d.default, (padded, *[*constants, None][:2], *steps))
        split = [-1, channels, down.stride, along.stride, down.blocks, along.blocks]
        shape = [-1, channels, down.blocks * down.stride, along.blocks * along.stride]
        result = call(ATEN.reshape.default, (given_at_once, split))
        result = call(ATEN.permute.default, (result, [0, 1, 4, 2, 5, 3]))
        result = call(ATEN.reshape.default, (result, shape))
        for axis, part in enumerate(axes, start=2):
            if part.size < part.blocks * part.stride:
                result = call(ATEN.slice.Tensor, (result, axis, 0, part.size))
    replace(module, node, result)


def _axis(kernel: int, stride: int, padding: int, dilation: int, size: int, given: int) -> _Axis:
    """Return how one axis of `size` pixels becomes one of `given`.

    Pixel s m + r of the result gets weight k of pixel m + (r + padding - dilation k) / s.
    """
    reach = [(r + padding - dilation * k, r, k) for r in range(stride) for k in range(kernel)]
    taps = {(r, apart // stride): k for apart, r, k in reach if apart % stride == 0}
    first, last = min(n for _, n in taps), max(n for _, n in taps)
    blocks = -(-given // stride)
    return _Axis(
        stride=stride,
        size=given,
        blocks=blocks,
        before=-first,
        after=blocks + last - size,
        places=[[taps.get((r, n)) for r in range(stride)] for n in range(first, last + 1)],
    )


def _block_kernel(kernel: Tensor, groups: int, axes: list[_Axis]) -> Tensor:
    """Return weights (out × s × s, in / groups, taps, taps) of (in, out / groups, k, k)."""
    down, along = axes
    taken, given = len(kernel) // groups, kernel.shape[1]
    each = kernel.reshape(groups, taken, given, *kernel.shape[2:]).transpose(1, 2)
    shape = (groups, given, down.stride, along.stride, taken, len(down.places), len(along.places))
    result = kernel.new_zeros(shape)
    for y, rows in enumerate(down.places):
        for r, row in enumerate(rows):
            for x, columns in enumerate(along.places):
                for c, column in enumerate(columns):
                    if row is not None and column is not None:
                        result[:, :, r, c, :, y, x] = each[..., row, column]
    return result.flatten(0, 3)
