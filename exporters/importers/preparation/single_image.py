"""A network that takes a fixed number of images at once becomes one that takes one."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

from leansight.exporters.errors import ConversionError

# Operators with a list of lengths, and where it is among their inputs.
_LENGTHS: Final = {"Reshape": 1, "Expand": 1, "Resize": 3, "ConstantOfShape": 0}
_TOGETHER: Final = frozenset({"Add", "Concat", "Div", "Mul", "Sub", "Where"})


def take_one_image(model: onnx.ModelProto, batch: int, name: str) -> None:
    """Divide the lengths that hold the `batch` images by it, in place.

    Args:
        model: as ONNX Runtime has simplified it for so many images: lengths are constants in it.
        batch: how many images it takes.
        name: what messages call the file.

    Raises:
        ConversionError: the images cannot be told apart somewhere.

    """
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.output)
    }
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    added: list[onnx.TensorProto] = []
    for node in model.graph.node:
        for place in _lengths_of(node, constants):
            lengths = numpy_helper.to_array(constants[node.input[place]]).tolist()
            if node.op_type == "Resize" and not lengths:
                continue
            fewer = np.array(_divided(node, lengths, batch, name), np.int64)
            node.input[place] = _add(added, fewer, node, place)
        if node.op_type in _TOGETHER:
            shape = shapes.get(node.output[0], [])
            for place, used in enumerate(node.input):
                if (
                    used in constants
                    and (one := _one_of(constants[used], shape, batch)) is not None
                ):
                    node.input[place] = _add(added, one, node, place)
    model.graph.initializer.extend(added)
    if (given := shapes[model.graph.output[0].name])[:1] != [batch]:
        shown = "×".join(map(str, given))
        raise ConversionError(
            f"{name} gives {shown} numbers for the {batch} images that it takes at once: export it "
            "for one"
        )


def _lengths_of(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> list[int]:
    place = _LENGTHS.get(node.op_type, len(node.input))
    is_there = place < len(node.input) and node.input[place] in constants
    return [place] if is_there else []


def _divided(node: onnx.NodeProto, lengths: Sequence[int], batch: int, name: str) -> list[int]:
    """Return the lengths for one image: the images follow each other on the first long axis."""
    for axis, length in enumerate(lengths):
        if length == -1:  # as many as there are numbers
            return list(lengths)
        if length % batch == 0 and length:
            return [*lengths[:axis], length // batch, *lengths[axis + 1 :]]
        if length != 1:
            break
    raise ConversionError(
        f"{name}: {node.op_type} {node.name or node.output[0]} mixes the {batch} images that the "
        "network takes at once: export it for one, or for any number"
    )


def _one_of(tensor: onnx.TensorProto, shape: Sequence[int], batch: int) -> np.ndarray | None:
    """Return the part for one image of a constant that has a copy for each, else None."""
    values = numpy_helper.to_array(tensor)
    has_copies = (
        len(tensor.dims) == len(shape) > 1
        and shape[0] == tensor.dims[0] == batch
        and (values == values[:1]).all()
    )
    return values[:1] if has_copies else None


def _add(
    added: list[onnx.TensorProto], values: np.ndarray, node: onnx.NodeProto, place: int
) -> str:
    name = f"{node.output[0]}/for_one_image_{place}"
    added.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name
