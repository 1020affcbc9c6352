"""Run by a Python that has MediaPipe: what it reads in a model, and what it says of images.

in_mediapipe.py MODEL IMAGES.npz prints {"error": its refusal} or {"metadata": what its own
generated schema reads, "answers": for each image of "images" [[label, score], ...]}.
"""

import json
import sys
from pathlib import Path

import mediapipe
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata_schema
from mediapipe.tasks.metadata import schema_py_generated as schema
from mediapipe.tasks.python.core.base_options import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions


def plain(value: object) -> object:
    """Return the objects of a flatbuffer as JSON values."""
    match value:
        case bytes():
            return value.decode()
        case np.ndarray():
            return value.tolist()
        case list():
            return [plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return {name: plain(item) for name, item in vars(value).items() if item is not None}
    return value


def metadata(model: bytes) -> object:
    """Return the metadata of a TFLite file."""
    root = schema.ModelT.InitFromPackedBuf(model)
    (entry,) = [entry for entry in root.metadata if entry.name == b"TFLITE_METADATA"]
    data = bytes(root.buffers[entry.buffer].data)
    assert metadata_schema.ModelMetadata.ModelMetadataBufferHasIdentifier(data, 0)
    return plain(metadata_schema.ModelMetadataT.InitFromPackedBuf(data))


def answers(model: bytes, images: np.ndarray) -> list[list[tuple[str, float]]]:
    """Return the labels and scores that are given of each image (H, W, 3) uint8 RGB."""
    options = ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=model))
    said = []
    with ImageClassifier.create_from_options(options) as classifier:
        for image in images:
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            (head,) = classifier.classify(picture).classifications
            said.append([(given.category_name, given.score) for given in head.categories])
    return said


def main() -> None:
    """Print what the arguments ask for."""
    model, images = Path(sys.argv[1]).read_bytes(), np.load(sys.argv[2])["images"]
    try:
        result = {"answers": answers(model, images), "metadata": metadata(model)}
    except ValueError as error:
        result = {"error": str(error)}
    sys.stdout.write(json.dumps(result))


main()
