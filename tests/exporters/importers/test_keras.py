"""Keras models are converted in a process with TensorFlow."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from leansight.exporters.conversion.inference import predict
from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.keras import convert_keras
from leansight.exporters.importers.normalisation import Normalisation, normalised
from leansight.exporters.importers.onnx_reader import read_onnx
from leansight.runtime.decision import softmax


def python_with_tensorflow() -> str:
    """Return a Python that has it, or skip: TensorFlow is not among leansight's own packages."""
    named = os.environ.get("LEANSIGHT_KERAS_PYTHON")
    if named is None and importlib.util.find_spec("tensorflow") is None:
        pytest.skip("name a Python with tensorflow and tf2onnx in LEANSIGHT_KERAS_PYTHON")
    return named or sys.executable


MAKE_MODELS = """
import sys
import keras, numpy as np
from keras import layers
keras.utils.set_random_seed(1)
model = keras.Sequential([
    keras.Input((16, 16, 3)), layers.Rescaling(1 / 127.5, offset=-1),
    layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False), layers.BatchNormalization(),
    layers.ReLU(6.0), layers.DepthwiseConv2D(3, padding="same"), layers.MaxPooling2D(),
    layers.Flatten(), layers.Dense(3, activation="softmax"),
])
images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.float32)
model.compile("adam", "mse")
model.fit(images, np.eye(3)[[0, 1, 2, 0, 1]], epochs=3, verbose=0)
model.save("model.keras")
model.save("model.h5")
model.export("saved", verbose=False)
import tensorflow as tf
converter = tf.lite.TFLiteConverter.from_saved_model("saved")
open("model.tflite", "wb").write(converter.convert())
converter.target_spec.supported_types = [tf.float16]
converter.optimizations = [tf.lite.Optimize.DEFAULT]
open("half.tflite", "wb").write(converter.convert())
converter.target_spec.supported_types = []
converter.representative_dataset = lambda: ([image[None]] for image in images)
open("int8.tflite", "wb").write(converter.convert())
np.savez("model.npz", images=images, outputs=model.predict(images, verbose=0))
grouped = keras.Sequential([
    keras.Input((16, 16, 3)), layers.Rescaling(1 / 127.5, offset=-1), layers.Conv2D(8, 3),
    layers.Conv2D(8, 3, groups=4, activation="gelu"), layers.Flatten(),
    layers.Dense(3, activation="softmax"),
])
grouped.save("grouped.keras")
grouped.export("grouped", verbose=False)
np.savez("grouped.npz", images=images, outputs=grouped.predict(images, verbose=0))
"""


@pytest.fixture(scope="module")
def keras_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    command = [python_with_tensorflow(), "-c", MAKE_MODELS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["model.keras", "model.h5", "model.tflite", "grouped.keras", "saved", "grouped"]
)
def test_a_keras_model_gives_what_keras_gives(
    keras_models: Path, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    convert_keras(keras_models / name, file, keras_python=Path(python_with_tensorflow()))
    classifier = read_onnx(file, size=None, channels=3)
    assert (classifier.size, classifier.channels_last, classifier.end) == (16, True, "softmax")
    network = normalised(classifier.network, Normalisation(mean=(0,), std=(1,)), channels=3)
    expected = np.load(keras_models / ("grouped.npz" if "grouped" in name else "model.npz"))
    logits = predict(network, expected["images"].astype(np.uint8))
    np.testing.assert_allclose(softmax(logits), expected["outputs"], atol=1e-5)


@pytest.mark.slow
def test_a_quantized_tflite_file_is_refused_before_tensorflow_is_started(
    keras_models: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match=r"int8.tflite is quantized already \(int8\)"):
        convert_keras(
            keras_models / "int8.tflite", tmp_path / "x.onnx", keras_python=Path("/nowhere/python")
        )


@pytest.mark.slow
def test_weights_of_16_bits_in_a_tflite_file_are_read(keras_models: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    convert_keras(keras_models / "half.tflite", file, keras_python=Path(python_with_tensorflow()))
    classifier = read_onnx(file, size=None, channels=3)
    expected = np.load(keras_models / "model.npz")
    np.testing.assert_allclose(classifier.run(expected["images"]), expected["outputs"], atol=1e-2)


MAKE_KERAS_2 = """
import tf_keras as keras, numpy as np
from tf_keras import layers
keras.utils.set_random_seed(1)
body = keras.Sequential([
    keras.Input((16, 16, 3)), layers.Conv2D(8, 3, strides=2), layers.ReLU(6.0),
    layers.DepthwiseConv2D(3), layers.GlobalAveragePooling2D(),
])
model = keras.Sequential([body, keras.Sequential([layers.Dense(3, activation="softmax")])])
images = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
np.savez("keras2.npz", images=images, outputs=model(images).numpy())
model.save("keras2.h5")
"""


@pytest.mark.slow
def test_a_file_of_keras_2_is_read_by_its_own_keras(tmp_path: Path) -> None:
    python = python_with_tensorflow()
    done = subprocess.run(
        [python, "-c", MAKE_KERAS_2], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if "No module named 'tf_keras'" in done.stderr:
        pytest.skip("tf-keras is not beside TensorFlow")
    assert done.returncode == 0, done.stderr
    convert_keras(tmp_path / "keras2.h5", tmp_path / "x.onnx", keras_python=Path(python))
    classifier = read_onnx(tmp_path / "x.onnx", size=None, channels=3)
    expected = np.load(tmp_path / "keras2.npz")
    np.testing.assert_allclose(classifier.run(expected["images"]), expected["outputs"], atol=1e-5)


def test_a_python_without_tensorflow_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()
    bare = tmp_path / "python"  # -S: without what is installed
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(ConversionError, match=r"and name keras/bin/python$"):
        convert_keras(tmp_path / "model.keras", tmp_path / "model.onnx", keras_python=bare)


def test_what_tensorflow_says_of_a_bad_model_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()
    stand_in = tmp_path / "python"
    stand_in.write_text("#!/bin/sh\necho warnings >&2\necho 'ValueError: no layer X' >&2\nexit 1\n")
    stand_in.chmod(0o755)
    with pytest.raises(ConversionError, match=r"cannot convert .*keras: ValueError: no layer X"):
        convert_keras(tmp_path / "model.keras", tmp_path / "model.onnx", keras_python=stand_in)
