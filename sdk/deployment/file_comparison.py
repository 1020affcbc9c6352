"""A network from elsewhere in torch beside the file that it was read from, on the same images."""

import copy
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from leansight.exporters.conversion.inference import predict, predict_precisely
from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.normalisation import Normalisation
from leansight.exporters.importers.onnx_reader import (
    OnnxClassifier,
    as_outputs,
    largest_difference,
)
from leansight.exporters.options import StepProgress
from leansight.runtime.preprocessing import Image
from leansight.sdk.system.console import tell

# Of the largest output, or of a probability: two float runtimes add in different orders.
_TOLERANCE: Final = 1e-3
_NOISE_FACTOR: Final = 10  # how many times the precision's own error two runtimes may be apart
# How many times as coarsely as float32 a file's own precision rounds: bits of the mantissa.
_COARSENESS: Final = {"float16": 1 << 13}
_IMAGES: Final = 128  # show a graph that was read wrongly; more of them only take longer


def require_same(
    classifier: OnnxClassifier,
    module: nn.Module,
    normalisation: Normalisation,
    pixels: Image,
    progress: StepProgress,
) -> float:
    """Return by how much torch differs from the file on images (N, H, W, C) uint8.

    At most 128 of the images are taken, spread evenly over them. Beyond 1e-3 torch may differ by
    ten times what float32 itself makes of the network, measured in float64, or what the file's own
    float16 would; that is told.

    Raises:
        ConversionError: it differs by more, or the file gives numbers that are not finite.

    """
    pixels = pixels[:: -(-len(pixels) // _IMAGES)]
    step, count = "comparing torch with the file", len(pixels)
    # A copy: what has predicted cannot be converted any more (its weights have changed their kind).
    logits = predict(copy.deepcopy(module), pixels, lambda done, _: progress(step, done, 2 * count))
    wanted = map(normalisation, pixels)
    outputs = classifier.run(wanted, lambda done: progress(step, count + done, 2 * count))
    if wrong := int((~np.isfinite(outputs)).any(axis=1).sum()):
        raise ConversionError(
            f"{classifier.name} gives NaN or infinite numbers for {wrong} of {count} images: its "
            "weights hold such numbers, or become too large. Take weights of an earlier epoch"
        )
    if classifier.end == "logits" and _are_probabilities(outputs):
        tell(
            f"{classifier.name} gives numbers that sum to 1 for every image, and they are read as "
            "logits: if they are probabilities already, scores are flatter than the file's own. "
            "Name what its softmax takes as the output"
        )
    difference = largest_difference(classifier, logits, outputs)
    if difference <= _TOLERANCE:
        return difference
    noise = largest_difference(
        classifier, logits, as_outputs(classifier, predict_precisely(module, pixels))
    )
    own = noise * _COARSENESS.get(classifier.computes_in, 1)
    if not difference <= _NOISE_FACTOR * own:
        raise ConversionError(
            f"torch gives other numbers than {classifier.name} in ONNX Runtime, by "
            f"{difference:.2g}, of which {classifier.computes_in} explains {own:.2g}: it cannot be "
            "exported. Please report this network"
        )
    if classifier.computes_in in _COARSENESS:
        tell(f"what {classifier.name} rounds to {classifier.computes_in} is {difference:.2g}")
        return difference
    tell(
        f"{classifier.name} is ill-conditioned: float32 alone changes what it says by {noise:.2g}, "
        f"and torch and ONNX Runtime differ by {difference:.2g}"
    )
    return difference


def _are_probabilities(outputs: NDArray[np.float64]) -> bool:
    return outputs.shape[1] > 1 and bool(
        (outputs >= 0).all() and np.allclose(outputs.sum(1), 1, atol=_TOLERANCE)
    )
