"""Read a TFLite file: its operators, and its tensors with their quantization."""

import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from leansight.exporters.errors import ConversionError

_OPERATOR_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """real = scale × (integer - zero_point): one value a tensor, or one a channel of `axis`."""

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A tensor: `quantization` is None where it is float; `values` None where it is computed."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    quantization: Quantization | None
    values: NDArray[Any] | None


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A node: the operator's name in the TFLite schema, and its tensors by name ("" is absent)."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class TfliteGraph:
    """The one sub-graph of a TFLite file, tensors by name, operators in the order they run."""

    def __init__(self, model: bytes) -> None:
        """Read the file's bytes; ValueError if LiteRT cannot, ConversionError if it has more."""
        self._interpreter = _interpreter(model)
        graph, *others = (root := schema.ModelT.InitFromPackedBuf(model, 0)).subgraphs
        if others:
            raise ConversionError(
                f"litert-torch writes an operator with a graph of its own "
                f"({others[0].name.decode()}), which has no int8 form: export the network without "
                "it, or for another size of images"
            )
        details = {d["name"]: d for d in self._interpreter.get_tensor_details()}
        names = [tensor.name.decode() for tensor in graph.tensors]
        self.operators = [_operator(root, op, names) for op in graph.operators]
        self.input, self.output = names[int(graph.inputs[0])], names[int(graph.outputs[0])]
        computed = {self.input, *(name for op in self.operators for name in op.outputs)}
        self.operators = [_as_product(op, computed) for op in self.operators]
        self.activations = [name for name in names if name in computed]
        self._indices = {name: int(details[name]["index"]) for name in names if name in details}
        self.tensors = {
            name: self._tensor(details[name], constant=name not in computed)
            for name in names
            if name in details
        }

    @property
    def wiring(self) -> list[tuple[str, list[int], list[int]]]:
        """What each operator takes and gives, as positions in `activations`; -1 is a constant."""
        at = {name: index for index, name in enumerate(self.activations)}
        return [
            (op.kind, [at.get(n, -1) for n in op.inputs], [at[n] for n in op.outputs])
            for op in self.operators
        ]

    def run(self, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return every activation of a float graph for one input (1, S, S, C) float32."""
        self._interpreter.set_tensor(self._indices[self.input], image)
        self._interpreter.invoke()
        return {
            name: self._interpreter.get_tensor(self._indices[name]) for name in self.activations
        }

    def _tensor(self, detail: dict[str, Any], *, constant: bool) -> TensorInfo:
        parameters = detail["quantization_parameters"]
        quantization = Quantization(
            scale=parameters["scales"],
            zero_point=parameters["zero_points"].astype(np.int64),
            axis=int(parameters["quantized_dimension"]),
        )
        return TensorInfo(
            name=detail["name"],
            dtype=np.dtype(detail["dtype"]).name,
            shape=tuple(int(n) for n in detail["shape"]),
            quantization=quantization if quantization.scale.size else None,
            values=self._interpreter.get_tensor(detail["index"]) if constant else None,
        )


def _interpreter(model: bytes) -> Any:
    with warnings.catch_warnings():
        # LiteRT warns that keeping every activation is for debugging: it is what we do here.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = Interpreter(
            model_content=model,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    interpreter.allocate_tensors()
    return interpreter


def _as_product(operator: Operator, computed: Collection[str]) -> Operator:
    """Name a dense layer whose weights are computed (attention of one head) what it is."""
    if operator.kind == "FULLY_CONNECTED" and operator.inputs[1] in computed:
        return replace(operator, kind="BATCH_MATMUL")
    return operator


def _operator(root: Any, operator: Any, names: list[str]) -> Operator:
    code = root.operatorCodes[operator.opcodeIndex]
    kind = _OPERATOR_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return Operator(
        kind=kind,
        inputs=tuple(names[i] if i >= 0 else "" for i in operator.inputs),
        outputs=tuple(names[i] for i in operator.outputs),
    )
