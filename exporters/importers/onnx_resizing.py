"""ONNX's operators that make images larger or smaller without weights, as torch functions."""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch.nn import functional

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.importers.onnx_node import Activation, Step

_WITH_COORDINATES: Final = 11  # the version from which a Resize says where pixels lie
_HALF_PIXEL: Final = frozenset({"half_pixel", "pytorch_half_pixel"})


def _resize(step: Step) -> Activation:
    source = step.plain(axes=IMAGE_AXES)
    kind = step.attributes.get("mode", b"nearest").decode()
    kind = "linear" if kind == "bilinear" else kind
    where = step.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    if step.opset < _WITH_COORDINATES:
        where = "asymmetric"
    size = step.shapes[0][2:]
    if step.shapes[0][:2] != source.shape[:2] or step.attributes.get("antialias", 0):
        raise step.refuse("only height and width are resized, without antialiasing")
    if kind == "nearest" and _takes_lower(step, where, source.shape[2:], size):
        nearest = (source.node, size, None, "nearest")
        return step.call(functional.interpolate, *nearest, positive=source.positive)
    if kind == "linear" and where in _HALF_PIXEL | {"align_corners"}:
        corners = where == "align_corners"
        bilinear = (source.node, size, None, "bilinear", corners)
        return step.call(functional.interpolate, *bilinear, positive=source.positive)
    raise step.refuse(f"{kind} resizing of {where} coordinates is not read")


def _takes_lower(step: Step, where: str, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether place i takes place floor(i × before / after), as torch does.

    With a whole factor all ways of rounding come to that.
    """
    rounding: str = step.attributes.get("nearest_mode", b"round_prefer_floor").decode()
    if step.opset < _WITH_COORDINATES:
        rounding = "floor"
    whole = all(new % old == 0 for old, new in zip(before, after, strict=True))
    if where == "asymmetric":
        return rounding == "floor"
    return where in _HALF_PIXEL and whole and rounding.startswith("round")


def _depth_to_space(step: Step) -> Activation:
    source, block = step.plain(axes=IMAGE_AXES), step.attributes["blocksize"]
    if step.attributes.get("mode", b"DCR") == b"CRD":
        return step.call(functional.pixel_shuffle, source.node, block, positive=source.positive)
    _, channels, height, width = source.shape
    split = (-1, block, block, channels // block**2, height, width)
    return _in_blocks(step, source, split, (0, 3, 4, 1, 5, 2))


def _space_to_depth(step: Step) -> Activation:
    source, block = step.plain(axes=IMAGE_AXES), step.attributes["blocksize"]
    _, channels, height, width = source.shape
    split = (-1, channels, height // block, block, width // block, block)
    return _in_blocks(step, source, split, (0, 3, 5, 1, 2, 4))


def _in_blocks(
    step: Step, source: Activation, split: tuple[int, ...], order: tuple[int, ...]
) -> Activation:
    node = step.graph.call_function(torch.reshape, (source.node, split))
    node = step.graph.call_function(torch.permute, (node, order))
    return step.call(torch.reshape, node, (-1, *step.shapes[0][1:]), positive=source.positive)


RESIZING: Final[Mapping[str, Callable[[Step], Activation]]] = {
    "DepthToSpace": _depth_to_space,
    "Resize": _resize,
    "SpaceToDepth": _space_to_depth,
    "Upsample": _resize,
}
