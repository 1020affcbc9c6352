"""What TensorFlow reads becomes ONNX, in a process of its own with TensorFlow."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers import keras_to_onnx
from leansight.exporters.importers.tflite_source import require_float
from leansight.runtime.system.whole_files import scratch_folder

KERAS_PACKAGES: Final = ("tensorflow", "tf2onnx", "onnx")


def convert_keras(source: Path, target: Path, *, keras_python: Path) -> None:
    """Write a Keras model, a SavedModel folder or a .tflite file as ONNX, by another Python.

    Raises:
        BundleError: a .tflite file is damaged.
        ConversionError: it is quantized; that Python has no TensorFlow or tf2onnx, or they cannot
            read the model.

    """
    if source.suffix.lower() == ".tflite":
        require_float(source)
    with scratch_folder() as folder:
        # Away from our own files: a script's folder is where Python looks for modules first.
        script = Path(shutil.copy(keras_to_onnx.__file__, folder))
        command = [str(keras_python), str(script), str(source.resolve()), str(target.resolve())]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    if done.returncode == 0:
        return
    said = [line for line in done.stderr.splitlines() if line.strip()]
    last = said[-1].strip() if said else f"exit code {done.returncode}"
    if any(last.endswith(f"No module named '{package}'") for package in KERAS_PACKAGES):
        raise ConversionError(
            f"{source} needs TensorFlow, which {keras_python} lacks ({last}). Type: python3 -m "
            "venv keras && keras/bin/pip install tensorflow tf2onnx, and name keras/bin/python",
            parameter="keras_python",
        )
    raise ConversionError(f"TensorFlow cannot convert {source}: {last}")
