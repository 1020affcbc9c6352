"""golden.npz: photos with the pixels and logits that a device must get from them."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.bundle import Bundle
from leansight.runtime.interpreter import Format, load_interpreter
from leansight.runtime.preprocessing import Image


def golden_file(bundle: Bundle, models: Mapping[Format, bytes], photos: Sequence[Image]) -> bytes:
    """Return an .npz of photos with the pixels and logits that they must give everywhere."""
    arrays: dict[str, NDArray[Any]] = {f"photo_{i:02}": photo for i, photo in enumerate(photos)}
    pixels = [bundle.preprocessing(photo) for photo in photos]
    arrays["pixels"] = np.concatenate(pixels) if pixels else np.empty((0,), np.uint8)
    for kind, model in models.items():
        interpreter = load_interpreter(model, kind)
        arrays[f"logits_{kind}"] = np.array([interpreter(p) for p in pixels], np.float32)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()
