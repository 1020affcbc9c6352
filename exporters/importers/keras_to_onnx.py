"""Write a Keras model or a TensorFlow SavedModel as ONNX: MODEL ONNX-FILE.

A script for whatever Python has TensorFlow and tf2onnx, which need not have leansight: TensorFlow
and litert-torch in one process crash. The last line on standard error says what went wrong.
"""

import os
import sys
from pathlib import Path

OPSET = 17


def main(source: Path, target: Path) -> None:
    """Freeze the model for one image and write it, with channels last as it has them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import onnx
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    if source.is_dir():
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
        shape, call = spec.shape, lambda image: next(iter(serve(**{name: image}).values()))
    else:
        model = tf.keras.models.load_model(source, compile=False)
        _require_one("input", model.inputs)
        _require_one("output", model.outputs)
        shape, call = model.input_shape, lambda image: model(image, training=False)
    one = tf.TensorSpec((1, *shape[1:]), tf.float32, name="image")
    # Frozen here: tf2onnx would make inputs of constants that a function has captured.
    frozen = convert_variables_to_constants_v2(tf.function(call).get_concrete_function(one))
    written, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=[tensor.name for tensor in frozen.inputs],
        output_names=[tensor.name for tensor in frozen.outputs],
        opset=OPSET,
    )
    onnx.save(written, target)


def _require_one(what: str, found: list[object]) -> None:
    if len(found) != 1:
        sys.exit(f"it has {len(found)} {what}s, not one")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
