"""ONNX's operators that make images larger or smaller without weights, as torch functions."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from leansight.exporters.conversion.resizing import TURNED, axis_matrices
from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.importers.operators.node import Activation, Step
from leansight.runtime.extras import onnx_runtime

_WITH_COORDINATES: Final = 11  # the version from which a Resize says where pixels lie
_SIZES: Final = 3  # the input that has them
_IR_VERSION: Final = 8
_HALF_PIXEL: Final = frozenset({"half_pixel", "pytorch_half_pixel"})


def _resize(step: Step) -> Activation:
    source = step.plain(axes=IMAGE_AXES)
    kind = step.attributes.get("mode", b"nearest").decode()
    kind = "linear" if kind == "bilinear" else kind
    where = step.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    if step.opset < _WITH_COORDINATES:
        where = "asymmetric"
    size = step.shapes[0][2:]
    if step.shapes[0][:2] != source.shape[:2]:
        raise step.refuse("only height and width are resized")
    if step.attributes.get("antialias", 0):
        pass
    elif kind == "nearest" and _takes_lower(step, where, source.shape[2:], size):
        nearest = (source.node, size, None, "nearest")
        return step.call(functional.interpolate, *nearest, positive=source.positive)
    elif kind == "linear" and where in _HALF_PIXEL | {"align_corners"}:
        corners = where == "align_corners"
        bilinear = (source.node, size, None, "bilinear", corners)
        return step.call(functional.interpolate, *bilinear, positive=source.positive)
    found = axis_matrices(_run_alone(step, source), *source.shape[2:])
    if found is None:
        raise step.refuse(f"{kind} resizing of {where} coordinates is not read")
    down, along = (step.weights(part.numpy()) for part in found)
    call = step.graph.call_function
    rows = call(torch.permute, (call(functional.linear, (source.node, along)), TURNED))
    return step.call(torch.permute, call(functional.linear, (rows, down)), TURNED)


def _run_alone(step: Step, source: Activation) -> Callable[[Tensor], Tensor]:
    """Return what ONNX Runtime makes of images (1, K, H, W) by this operator."""
    node, constants = onnx.NodeProto.FromString(step.node.SerializeToString()), []
    for place in range(1, len(step.inputs)):
        value = step.optional(place)
        if value is not None and place == _SIZES and len(value) == IMAGE_AXES:
            value = np.array([1, 1, *value[2:]])
        if value is not None:
            constants.append(numpy_helper.from_array(value, node.input[place]))
    shape = (1, 1, *source.shape[2:])
    image = helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, shape)
    resized = helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "resizing", [image], [resized], constants)
    opsets = [helper.make_opsetid("", step.opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    session = onnx_runtime().InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )

    def resize(images: Tensor) -> Tensor:
        each = [session.run(None, {image.name: one[None, None].numpy()})[0] for one in images[0]]
        return torch.from_numpy(np.concatenate(each, axis=1))

    return resize


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
