"""A network that takes a fixed number of images at once becomes one that takes one.

Its lengths are constants that hold this number. Which of them do is told from where the images
are: after some places, such as tokens, in an axis of each tensor.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference

from leansight.exporters.errors import ConversionError

_OF_SHAPE: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_LENGTHS: Final = {"Reshape": 1, "Expand": 1, "Resize": 3}  # where a list of lengths is
_TOGETHER: Final = frozenset({"Add", "Concat", "Div", "Mul", "Sub", "Where"})
_FEW: Final = 1024  # numbers of a constant that a shape may depend on


def take_one_image(model: onnx.ModelProto, batch: int, name: str) -> None:
    """Divide the lengths that hold the `batch` images by it, in place.

    Args:
        model: as ONNX Runtime has simplified it for so many images: lengths are constants in it.
        batch: how many images it takes.
        name: what messages call the file.

    Raises:
        ConversionError: the images cannot be told apart somewhere.

    """
    images = _Images(model, batch, name)
    for node in model.graph.node:
        images.take_one(node)
    images.require_first(model.graph.output[0].name)


class _Images:
    """The shapes of a graph's tensors for all images and for one, node by node."""

    def __init__(self, model: onnx.ModelProto, batch: int, name: str) -> None:
        self._model, self._batch, self._name = model, batch, name
        graph = model.graph
        self._all = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*graph.input, *graph.value_info, *graph.output)
        }
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._types = {
            tensor.name: helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            for tensor in graph.initializer
        }
        self._places: dict[str, int] = {}  # of the axis with the images, before these
        for value in (v for v in graph.input if v.name not in self._constants):
            kind, (_, *rest) = value.type.tensor_type.elem_type, self._all[value.name]
            self._types[value.name] = helper.make_tensor_type_proto(kind, [1, *rest])
            self._places[value.name] = 1

    def take_one(self, node: onnx.NodeProto) -> None:
        """Let a node take and give one image."""
        sources = [name for name in node.input if name in self._places]
        places = self._new_places(node, sources[0]) if sources else None
        if sources and node.op_type in _LENGTHS:
            self._shorten(node, sources[0], places)
        if sources and node.op_type in _TOGETHER:
            for place, used in enumerate(node.input):
                if used in self._constants:
                    self._take_one_copy(node, place, sources[0])
        for name, given in self._inferred(node).items():
            self._types[name] = given
            if self._one(name) == self._all.get(name):
                continue
            if not sources or places is None:
                raise self._mixes(node)
            self._axis(name, node)
            self._places[name] = places

    def require_first(self, output: str) -> None:
        """Raise ConversionError unless the images are on an output's first axis."""
        given = self._all[output]
        if given[:1] != [self._batch] or self._one(output)[:1] != [1]:
            raise ConversionError(
                f"{self._name} gives {'×'.join(map(str, given))} numbers for the {self._batch} "
                "images that it takes at once: export it for one"
            )

    def _one(self, name: str) -> list[int]:
        return [dim.dim_value for dim in self._types[name].tensor_type.shape.dim]

    def _axis(self, name: str, node: onnx.NodeProto) -> int:
        """Return the axis of a tensor that is longer for all images than for one."""
        one, every = self._one(name), self._all[name]
        longer = [n for n, (few, many) in enumerate(zip(one, every, strict=False)) if few != many]
        is_told = len(one) == len(every) and len(longer) == 1
        if not is_told or every[longer[0]] != self._batch * one[longer[0]]:
            raise self._mixes(node)
        return longer[0]

    def _new_places(self, node: onnx.NodeProto, source: str) -> int | None:
        """Return how many places of its axis come before the images in what a node gives."""
        if node.op_type not in _OF_SHAPE:
            return self._places[source]
        found = self._where(node, source)
        return None if found is None else found[1]

    def _where(self, node: onnx.NodeProto, source: str) -> tuple[int, int] | None:
        """Return the axis with the images after a reshape, and the places before them there."""
        before = math.prod(self._one(source)[: self._axis(source, node)]) * self._places[source]
        for axis, length in enumerate(self._all[node.output[0]]):
            if length % (before * self._batch) == 0:
                return axis, before
            if before % length:
                return None
            before //= length
        return None

    def _shorten(self, node: onnx.NodeProto, source: str, places: int | None) -> None:
        """Divide the one length of a node that holds the images."""
        place = _LENGTHS[node.op_type]
        if place >= len(node.input) or node.input[place] not in self._constants:
            return
        lengths = numpy_helper.to_array(self._constants[node.input[place]]).tolist()
        if not lengths:
            return
        if node.op_type == "Reshape":
            found = self._where(node, source)
            if found is None or places is None:
                raise self._mixes(node)
            lengths, axis = [*self._all[node.output[0]]], found[0]
        else:
            axis = self._axis(source, node) + len(lengths) - len(self._all[source])
        if lengths[axis] % self._batch == 0:
            lengths[axis] //= self._batch
        self._replace(node, place, np.array(lengths, np.int64))

    def _take_one_copy(self, node: onnx.NodeProto, place: int, source: str) -> None:
        """Take the part for one image of a constant that has the same for each."""
        values = numpy_helper.to_array(self._constants[node.input[place]])
        axis = self._axis(source, node) - len(self._all[source])  # both end alike
        if values.ndim < -axis or values.shape[axis] != self._all[source][axis]:
            return
        split = (*values.shape[:axis], self._places[source], self._batch, -1)
        rest = values.shape[axis:][1:]
        each = np.moveaxis(values.reshape(*split, *rest), values.ndim + axis + 1, 0)
        if (each == each[:1]).all():
            shape = [*values.shape]
            shape[axis] //= self._batch
            self._replace(node, place, each[0].reshape(shape))

    def _replace(self, node: onnx.NodeProto, place: int, values: np.ndarray) -> None:
        name = f"{node.output[0]}/for_one_image_{place}"
        tensor = numpy_helper.from_array(np.ascontiguousarray(values), name)
        self._model.graph.initializer.append(tensor)
        self._constants[name] = tensor
        self._types[name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        node.input[place] = name

    def _inferred(self, node: onnx.NodeProto) -> Mapping[str, onnx.TypeProto]:
        """Return what a node gives of what it takes for one image."""
        opset = max(o.version for o in self._model.opset_import if o.domain == node.domain)
        try:
            return shape_inference.infer_node_outputs(
                defs.get_schema(node.op_type, opset, node.domain),
                node,
                {name: self._types[name] for name in node.input if name},
                self._few(node.input),
                opset_imports=[*self._model.opset_import],
                ir_version=self._model.ir_version,
            )
        except (shape_inference.InferenceError, defs.SchemaError) as error:
            raise self._mixes(node) from error

    def _few(self, names: Sequence[str]) -> dict[str, onnx.TensorProto]:
        known = {name: self._constants[name] for name in names if name in self._constants}
        return {name: tensor for name, tensor in known.items() if math.prod(tensor.dims) <= _FEW}

    def _mixes(self, node: onnx.NodeProto) -> ConversionError:
        return ConversionError(
            f"{self._name}: {node.op_type} {node.name or node.output[0]} mixes the {self._batch} "
            "images that the network takes at once: export it for one, or for any number"
        )
