"""QDQ: an ONNX graph with QuantizeLinear and DequantizeLinear around what ONNX Runtime fuses."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from leansight.exporters.errors import ConversionError
from leansight.exporters.int8.write_tflite import LARGEST_BIAS, LEVELS
from leansight.exporters.tflite.graph import Operator, Quantization, TensorInfo, TfliteGraph


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The integers that activations are written as: TFLite's, which are signed, and `shift`."""

    dtype: type[np.integer[Any]]
    shift: int

    @property
    def lowest(self) -> int:
        """The smallest integer."""
        return int(np.iinfo(self.dtype).min)

    @property
    def highest(self) -> int:
        """The largest integer."""
        return int(np.iinfo(self.dtype).max)


WITHOUT_BIAS = 2  # inputs of a layer: what it takes, and its weights
WEIGHT_TOLERANCE = 0.5 + 1e-3  # steps
BIAS_TOLERANCE = 1e-4  # a share of it: beyond 24 bits a float has no more digits
SIGNED = Levels(dtype=np.int8, shift=0)
UNSIGNED = Levels(dtype=np.uint8, shift=128)
# What ONNX Runtime computes of integers in kernels of its own, and TFLite may leave in float.
MADE_INTEGER = frozenset(
    {"Softmax", "MatMul", "Sigmoid", "LeakyRelu", "Add", "Mul", "AveragePool"}
    | {"GlobalAveragePool", "Resize"}
)


class QdqWriter:
    """Collects the nodes and initializers of the QDQ graph."""

    def __init__(self, graph: onnx.GraphProto, levels: Levels) -> None:
        self.graph = graph
        self._levels = levels
        (self.input,) = graph.input
        self._floats = {i.name: i for i in graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._grids: dict[str, Quantization] = {}
        self._exact: set[str] = set()

    def dequantize_input(self, quantization: Quantization) -> None:
        """Let the graph take uint8 pixels: they are the integers of its first tensor."""
        name = self.input.name
        for node in self.graph.node:
            for index, used in enumerate(node.input):
                if used == name:
                    node.input[index] = f"{name}_real"
        self.input.type.tensor_type.elem_type = onnx.TensorProto.UINT8
        self._grids[f"{name}_real"] = quantization
        if self._levels is UNSIGNED:
            self._pair_node("DequantizeLinear", name, f"{name}_real", quantization)
            return
        self._pair_node("DequantizeLinear", name, f"{name}_pixels", quantization, UNSIGNED)
        self._pair_node("QuantizeLinear", f"{name}_pixels", f"{name}_integer", quantization)
        self._pair_node("DequantizeLinear", f"{name}_integer", f"{name}_real", quantization)

    def weights(self, node: onnx.NodeProto, operator: Operator, graph: TfliteGraph) -> None:
        """Replace a layer's float weights and bias by TFLite's integers.

        TFLite's converter leaves out a bias of zeros; so is it here.
        """
        self._round_input(node, graph.tensors[operator.inputs[0]].quantization)
        if not any(operator.inputs[2:3]):
            self._drop_idle_bias(node)
        for index, (name, theirs) in enumerate(
            zip(list(node.input[1:]), operator.inputs[1:], strict=False)
        ):
            tensor = graph.tensors[theirs]
            assert tensor.values is not None
            assert tensor.quantization is not None
            integers = tensor.values if index else _onnx_layout(tensor.values, operator.kind)
            scale = tensor.quantization.scale
            if index == 0:
                biases = [graph.tensors[n].values for n in operator.inputs[2:3] if n]
                self._check_weights(node, name, integers, scale, *biases)
            else:
                self._check_bias(node, name, integers, scale)
            # Its own even where layers share weights: biases count in steps of the layer's input,
            # and ONNX Runtime leaves in float what reads integers that others read as well.
            own = f"{name}_for_{node.output[0]}"
            # Symmetric, but written out: ONNX Runtime leaves a dense layer without it in float.
            zero_point = np.zeros(scale.shape, integers.dtype)
            parts = {"integer": integers, "scale": scale, "zero": zero_point}
            for part, values in parts.items():
                self._add(f"{own}_{part}", values)
            inputs = [f"{own}_{part}" for part in parts]
            self._nodes.append(helper.make_node("DequantizeLinear", inputs, [own], axis=0))
            node.input[1 + index] = own

    def _round_input(self, node: onnx.NodeProto, grid: Quantization | None) -> None:
        """Round what a layer takes as TFLite does, where nothing before it has."""
        name = node.input[0]
        if name not in self._grids and grid is not None:
            own = node.input[0] = f"{name}_for_{node.output[0]}"
            self._pair_node("QuantizeLinear", name, f"{own}_integer", grid)
            self._pair_node("DequantizeLinear", f"{own}_integer", own, grid)

    def _drop_idle_bias(self, node: onnx.NodeProto) -> None:
        biases = list(node.input[WITHOUT_BIAS:])
        if any(numpy_helper.to_array(self._floats[name]).any() for name in biases):
            raise ConversionError(f"{node.name}: one of the two formats has no bias")
        del node.input[WITHOUT_BIAS:]

    def operand(self, node: onnx.NodeProto, theirs: list[TensorInfo]) -> None:
        """Replace the constant of a sum or product by TFLite's integers.

        Its axes come in ONNX's order, and the integers are held against the float numbers.
        """
        constants = [tensor for tensor in theirs if tensor.values is not None]
        names = [name for name in node.input if name in self._floats]
        if len(constants) != 1 or len(names) != 1:
            return
        ((name,), (tensor,)) = names, constants
        exact, grid = numpy_helper.to_array(self._floats[name]), tensor.quantization
        if tensor.values is None or grid is None:
            raise ConversionError(f"{node.op_type} {node.name} has another constant in TFLite")
        ours = _ordered_as(exact, tensor.values, grid)
        if ours is None:
            raise ConversionError(f"{node.op_type} {node.name} has other numbers in TFLite")
        shifted = (ours.astype(np.int16) + self._levels.shift).astype(self._levels.dtype)
        own = f"{name}_for_{node.output[0]}"  # other nodes may use the same number
        self._add(f"{own}_integer", shifted)
        self._pair_node("DequantizeLinear", f"{own}_integer", own, grid)
        node.input[list(node.input).index(name)] = own

    def clip(self, node: onnx.NodeProto, bounds: list[int], quantization: Quantization) -> None:
        """Let an activation clip the integers that it is given on its own grid."""
        name = node.output[0]
        inputs = [f"{node.input[0]}_integer"]
        for index, bound in enumerate(bounds):
            inputs.append(f"{name}_bound_{index}")
            self._add(inputs[-1], np.array(bound, self._levels.dtype))
        self._grids[name] = quantization
        self._nodes.append(helper.make_node("Clip", inputs, [f"{name}_integer"]))
        self._pair_node("DequantizeLinear", f"{name}_integer", name, quantization)

    def node(self, node: onnx.NodeProto) -> None:
        """Keep a node."""
        self._nodes.append(node)

    def move(self, node: onnx.NodeProto, name: str) -> None:
        """Leave what `node` gives as `name` on the grid of what it takes, if that has one."""
        if grid := self._grids.get(node.input[0]):
            self.requantize(node, name, grid)

    def take_exact(self, node: onnx.NodeProto, *, but: Collection[str] = ()) -> None:
        """Let a node in float read what is before it in float, as it was before it was rounded."""
        for index, name in enumerate(node.input):
            if name in self._exact and name not in but:
                node.input[index] = f"{name}_exact"

    def requantize(
        self,
        node: onnx.NodeProto,
        name: str,
        quantization: Quantization,
        *,
        keep_exact: bool = False,
    ) -> None:
        """Round what `node` gives as `name` to its integer grid; what is in float may not be.

        ONNX Runtime would compute some of what is in float in integers of its own, where integers
        are before it and behind it. A maximum of one tensor in between, which is that tensor, keeps
        it from that.
        """
        given = f"{name}_exact"
        if keep_exact and node.op_type in MADE_INTEGER:
            given = f"{name}_computed"
            self._nodes.append(helper.make_node("Max", [given], [f"{name}_exact"]))
        node.output[list(node.output).index(name)] = given
        self._grids[name] = quantization
        if keep_exact:
            self._exact.add(name)
        self._pair_node("QuantizeLinear", f"{name}_exact", f"{name}_integer", quantization)
        self._pair_node("DequantizeLinear", f"{name}_integer", name, quantization)

    def finish(self, model: onnx.ModelProto) -> bytes:
        """Return the checked file."""
        used = {name for node in self._nodes for name in node.input}
        floats = [value for name, value in self._floats.items() if name in used]
        used |= {output.name for output in self.graph.output}
        nodes = [node for node in self._nodes if used & set(node.output)]
        graph = helper.make_graph(
            nodes,
            self.graph.name,
            [self.input],
            list(self.graph.output),
            [*floats, *self._constants],
        )
        result = helper.make_model(
            graph,
            opset_imports=model.opset_import,
            ir_version=model.ir_version,
            producer_name="leansight",
        )
        onnx.checker.check_model(result)
        return bytes(result.SerializeToString())

    def _pair_node(
        self,
        kind: str,
        source: str,
        target: str,
        quantization: Quantization,
        levels: Levels | None = None,
    ) -> None:
        levels = levels or self._levels
        scale, zero_point = f"{target}_{kind}_scale", f"{target}_{kind}_zero"
        self._add(scale, quantization.scale[0])
        zero = quantization.zero_point[0] + levels.shift
        self._add(zero_point, np.array(zero, levels.dtype))
        self._nodes.append(helper.make_node(kind, [source, scale, zero_point], [target]))

    def _add(self, name: str, values: ArrayLike) -> None:
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))

    def _check_weights(
        self,
        node: onnx.NodeProto,
        name: str,
        integers: NDArray[Any],
        scale: NDArray[np.float32],
        bias: NDArray[Any] | None = None,
    ) -> None:
        """Hold the integers against the float weights that they stand for.

        The first of a channel's may have been raised for its bias, by `fit_biases`.
        """
        exact = numpy_helper.to_array(self._floats[name])
        if exact.shape != integers.shape:
            raise ConversionError(
                f"{name}: shape {exact.shape} in ONNX, {integers.shape} in TFLite"
            )
        steps = scale.reshape(-1, *(1,) * (integers.ndim - 1))
        apart = np.abs(exact - integers * steps) / steps
        if bias is not None:
            raised = 2 * LEVELS * np.abs(bias.astype(np.int64)) / LARGEST_BIAS
            np.moveaxis(apart, 0, -1)[(0,) * (apart.ndim - 1)] -= raised
        worst = float(apart.max())
        if worst > WEIGHT_TOLERANCE:
            raise ConversionError(
                f"{node.name}: weights of the two formats are {worst:.2f} steps apart"
            )

    def _check_bias(
        self, node: onnx.NodeProto, name: str, integers: NDArray[Any], scale: NDArray[np.float32]
    ) -> None:
        """Hold a bias against the float one: a converter may have put another layer into it."""
        exact = numpy_helper.to_array(self._floats[name])
        apart = np.abs(exact - integers.astype(np.float64) * scale)
        if (apart > scale + BIAS_TOLERANCE * np.abs(exact)).any():
            raise ConversionError(f"{node.name}: the two formats have other biases")


def _onnx_layout(weights: NDArray[Any], kind: str) -> NDArray[Any]:
    """Turn TFLite's order of axes into ONNX's (out, in, height, width)."""
    match kind:
        case "CONV_2D":
            return weights.transpose(0, 3, 1, 2)
        case "DEPTHWISE_CONV_2D":
            return weights.transpose(3, 0, 1, 2)
        case _:
            return weights


def _ordered_as(
    exact: NDArray[Any], integers: NDArray[Any], grid: Quantization
) -> NDArray[Any] | None:
    """Return TFLite's integers in ONNX's order of axes; None if they stand for other numbers."""
    if integers.size != exact.size:
        return None
    squeezed = integers.squeeze()
    turned = (squeezed.transpose(order) for order in permutations(range(squeezed.ndim)))
    shape = exact.squeeze().shape
    layouts = [integers, *(layout for layout in turned if layout.shape == shape)]
    step, zero = float(grid.scale[0]), int(grid.zero_point[0])
    for layout in layouts:
        ours = layout.reshape(exact.shape)
        apart = np.abs(exact - step * (ours.astype(np.float64) - zero))
        if (apart <= WEIGHT_TOLERANCE * step).all():
            return ours
    return None
