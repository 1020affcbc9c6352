"""Write a network of TensorFlow as ONNX: MODEL ONNX-FILE.

MODEL is a Keras model (.keras, .h5), a SavedModel folder or a .tflite file. A script for whatever
Python has TensorFlow and tf2onnx, which need not have leansight: TensorFlow and litert-torch in one
process crash. The last line on standard error says what went wrong.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import ModelProto

OPSET = 17
_PLAIN = "_plain"  # behind the names of functions: TensorFlow knows those that were loaded already


def main(source: Path, target: Path) -> None:
    """Write what a file or folder holds, with channels last as it has them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import onnx

    written = _read_tflite(source) if source.suffix.lower() == ".tflite" else _freeze(source)
    onnx.save(written, target)


def _read_tflite(source: Path) -> "ModelProto":
    import tf2onnx

    written: ModelProto = tf2onnx.convert.from_tflite(str(source), opset=OPSET)[0]
    return written


def _freeze(source: Path) -> "ModelProto":
    """Return the model for one image.

    Without tf2onnx's own optimisation, which copies the graph a dozen times (InceptionV3: 6.9 GB
    instead of 1.7): ONNX Runtime's does the same. Frozen here, because tf2onnx would make inputs of
    constants that a function has captured. Weights are kept apart from the graph that it reads.
    """
    import gc

    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )
    from tf2onnx.tf_utils import compress_graph_def
    from tf2onnx.tfonnx import process_tf_graph

    # Keras computes a grouped convolution in a function of its own, which stays a call otherwise.
    tf.config.run_functions_eagerly(True)  # noqa: FBT003 -- TensorFlow's own
    call, shape = _load_saved_model(source) if source.is_dir() else _load_keras(source)
    one = tf.TensorSpec((1, *shape[1:]), tf.float32, name="image")
    frozen = convert_variables_to_constants_v2(tf.function(call).get_concrete_function(one))
    if any(node.op.endswith("PartitionedCall") for node in frozen.graph.as_graph_def().node):
        frozen = convert_variables_to_constants_v2(_without_compiled_calls(frozen, one))
    definition = frozen.graph.as_graph_def()
    inputs, outputs = ([tensor.name for tensor in part] for part in (frozen.inputs, frozen.outputs))
    del call, frozen
    gc.collect()
    weights = compress_graph_def(definition)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        written = process_tf_graph(
            graph,
            continue_on_error=True,
            opset=OPSET,
            input_names=inputs,
            output_names=outputs,
            const_node_values=weights,
            custom_op_handlers={"Erfc": (_write_erfc, [])},
        )
    made: ModelProto = written.make_model(source.name)
    return made


def _without_compiled_calls(frozen: Any, one: Any) -> Any:  # noqa: ANN401 -- functions of TensorFlow
    """Return a function whose calls are inlined: those too that XLA was to compile (SavedModel)."""
    import tensorflow as tf

    definition = frozen.graph.as_graph_def()
    library = definition.library.function
    nodes = [node for function in library for node in function.node_def]
    for part in (*definition.node, *nodes, *library):
        for forbids in ("_XlaMustCompile", "_noinline"):
            part.attr.pop(forbids, None)
        if "f" in part.attr:
            part.attr["f"].func.name += _PLAIN
    for function in library:
        function.signature.name += _PLAIN

    def call(image: object) -> object:
        names = {frozen.inputs[0].name: image}
        outputs = [tensor.name for tensor in frozen.outputs]
        return tf.graph_util.import_graph_def(definition, names, outputs, name="")

    return tf.compat.v1.wrap_function(call, [one])


def _write_erfc(context: Any, node: Any, *_: object) -> None:  # noqa: ANN401 -- tf2onnx has no types
    """Write erfc(x), with which Keras computes GELU, as 1 - erf(x): ONNX has no other."""
    import numpy as np

    one = context.make_const(f"{node.name}_one", np.ones((), np.float32))
    given, made = list(node.input), list(node.output)
    shapes, types = node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    erf = context.make_node("Erf", given, shapes=shapes, dtypes=types)
    context.make_node(
        "Sub", [one.output[0], erf.output[0]], outputs=made, shapes=shapes, dtypes=types
    )


def _load_saved_model(source: Path) -> "tuple[Callable[[object], object], Any]":
    import tensorflow as tf

    loaded = tf.saved_model.load(str(source))
    signatures = loaded.signatures
    if "serving_default" not in signatures:
        known = ", ".join(signatures) or "none"
        sys.exit(f"it has no signature serving_default (there are: {known})")
    serve = signatures["serving_default"]
    inputs = serve.structured_input_signature[1]
    _require_one("input", list(inputs))
    _require_one("output", list(serve.structured_outputs))
    ((name, spec),) = inputs.items()

    def call(image: object, _variables: object = loaded) -> object:  # live as long as it does
        return next(iter(serve(**{name: image}).values()))

    return call, spec.shape


def _load_keras(source: Path) -> "tuple[Callable[[object], object], Any]":
    model = _keras_of(source).models.load_model(source, compile=False)
    _require_one("input", model.inputs)
    _require_one("output", model.outputs)
    return lambda image: model(image, training=False), model.input_shape


def _keras_of(source: Path) -> Any:  # noqa: ANN401 -- one of two modules
    """Return the Keras that reads a file: Keras 2's own for its .h5, as Teachable Machine's is."""
    if source.suffix.lower() != ".keras":
        import h5py

        with h5py.File(source) as file:
            version = str(file.attrs.get("keras_version", ""))
        if version.startswith(("1.", "2.")):
            try:
                import tf_keras
            except ModuleNotFoundError:
                sys.exit(f"Keras {version} has saved it: install tf-keras beside TensorFlow")
            return tf_keras
    import keras

    return keras


def _require_one(what: str, found: list[object]) -> None:
    if len(found) != 1:
        sys.exit(f"it has {len(found)} {what}s, not one")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
