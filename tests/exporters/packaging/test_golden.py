import io

import numpy as np
import pytest
from shapes import LABELS, photos
from trained_networks import Written

from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import decide
from leansight.runtime.interpreter import Format

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.mark.slow
@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_golden_photos_give_the_recorded_pixels_and_logits(
    written: Written, model_format: Format
) -> None:
    bundle, _ = written
    classifier = Classifier.load(bundle.path, model_format=model_format)
    with np.load(io.BytesIO(bundle.read("golden.npz")), allow_pickle=False) as golden:
        shown = [golden[name] for name in sorted(golden.files) if name.startswith("photo")]
        assert len(shown) == 3
        for index, (photo, given) in enumerate(zip(shown, photos(3, seed=5)[0], strict=True)):
            np.testing.assert_array_equal(photo, given)
            pixels = bundle.preprocessing(photo)
            np.testing.assert_array_equal(pixels[0], golden["pixels"][index])
            logits = classifier.interpreter(pixels)
            np.testing.assert_array_equal(logits, golden[f"logits_{model_format}"][index])
            assert classifier(photo) == decide(logits, LABELS, bundle.decision)
