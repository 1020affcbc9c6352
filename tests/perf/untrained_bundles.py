"""Int8 bundles of networks that have learnt nothing: what they cost is what trained ones cost."""

from pathlib import Path

import numpy as np
import torch

from leansight.exporters.conversion.convert import convert
from leansight.exporters.int8.calibrated_network import quantize
from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.preprocessing import Clahe, Preprocessing
from leansight.sdk.models.build import build_network
from leansight.sdk.recipes.model import ModelRecipe

_GRAY = Preprocessing(size=64, colour="gray", clahe=Clahe())
_SMALL = Preprocessing(size=48, clahe=Clahe())
NETWORKS = {
    "ResNet-custom": (ModelRecipe(), _GRAY, 43),
    "small ResNet-custom": (ModelRecipe(blocks=(2, 3)), _SMALL, 43),
    "MobileNetV2": (ModelRecipe(name="mobilenetv2_100"), Preprocessing(size=224), 1000),
}


def write_untrained_bundle(name: str, path: Path) -> Bundle:
    """Write a bundle with both formats of a network of `NETWORKS`, quantized by noise."""
    recipe, preprocessing, classes = NETWORKS[name]
    torch.manual_seed(0)
    network = build_network(recipe, classes=classes, channels=preprocessing.channels).eval()
    noise = np.random.default_rng(0).integers(0, 256, (8, *preprocessing.shape[1:]), np.uint8)
    files = quantize(convert(network, preprocessing), noise, lambda *_: None)
    bundle = Bundle(
        path=path,
        name=name,
        labels=tuple(f"class {number}" for number in range(classes)),
        preprocessing=preprocessing,
        decision=DecisionPolicy(threshold=0.5),
        precision="int8",
    )
    return write_bundle(bundle, {f"model.{kind}": file for kind, file in files.items()})
