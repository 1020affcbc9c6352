"""Resizing of images, as one dense layer along the rows and another down the columns.

Any interpolation is that. Neither TFLite nor ONNX Runtime has the cubic ones of int8; of the
bilinear one to twice the size, every fourth number lies midway between two levels, which each of
them rounds to another side.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, fx

from leansight.exporters.conversion.torch_graph import ATEN, add_constants, input_of, replace

_BILINEAR: Final = {ATEN.upsample_bilinear2d.default, ATEN.upsample_bilinear2d.vec}
_RESIZINGS: Final = _BILINEAR | {
    *(ATEN.upsample_bicubic2d.default, ATEN.upsample_bicubic2d.vec),
    *(ATEN._upsample_bicubic2d_aa.default, ATEN._upsample_bicubic2d_aa.vec),  # noqa: SLF001
    *(ATEN._upsample_bilinear2d_aa.default, ATEN._upsample_bilinear2d_aa.vec),  # noqa: SLF001
}
_LARGEST_PX: Final = 256  # beyond, dense layers cost more than numbers that differ by a level
_AT_ONCE: Final = 16  # images that are resized: each takes memory
_TOLERANCE: Final = 1e-4
TURNED: Final = (0, 1, 3, 2)  # rows as columns


def write_resizing_as_layers(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a resizing that both formats lack, or round differently, as two dense layers."""
    if node.target not in _RESIZINGS:
        return
    if node.target in _BILINEAR and max(node.meta["val"].shape[2:]) > _LARGEST_PX:
        return
    source, settings = input_of(node), node.args[1:]
    height, width = source.meta["val"].shape[2:]
    found = axis_matrices(lambda images: node.target(images, *settings), height, width)  # type: ignore[operator]
    if found is None:
        return
    if all(torch.equal(matrix, torch.eye(len(matrix))) for matrix in found):
        replace(module, node, source)
        return
    down, along = add_constants(module, node, *found)
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        rows = call(ATEN.linear.default, (source, along))
        columns = call(ATEN.linear.default, (call(ATEN.permute.default, (rows, TURNED)), down))
        result = call(ATEN.permute.default, (columns, TURNED))
    replace(module, node, result)


@torch.no_grad()
def axis_matrices(
    resize: Callable[[Tensor], Tensor], height: int, width: int
) -> tuple[Tensor, Tensor] | None:
    """Return what a resizing does down the columns, (M, H), and along the rows, (N, W).

    An image (H, W) becomes down @ image @ along.T; None if the resizing does anything else.

    Args:
        resize: takes images (1, K, H, W) float32 and gives (1, K, M, N).
        height: H, pixels.
        width: W, pixels.

    """
    ones = torch.ones(1, 1, height, width)
    rows, columns = (
        [torch.eye(size)[first : first + _AT_ONCE] for first in range(0, size, _AT_ONCE)]
        for size in (height, width)
    )
    down = torch.cat([resize(ones * some[None, :, :, None])[0, :, :, 0] for some in rows]).T
    along = torch.cat([resize(ones * some[None, :, None])[0, :, 0] for some in columns]).T
    image = torch.rand(ones.shape, generator=torch.Generator().manual_seed(0))
    given, wanted = down @ image[0, 0] @ along.T, resize(image)[0, 0]
    return (down, along) if torch.allclose(given, wanted, atol=_TOLERANCE) else None
