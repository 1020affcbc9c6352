"""Make the networks that the Pi's checks run: those of shipped recipes, with weights by chance.

    recipe_bundles.py FOLDER

Weights do not change what an inference costs, nor whether two machines agree on it: no training.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pixels import draw_image, seeded

from leansight.exporters.export import ExportImages, export_network
from leansight.exporters.options import ExportOptions, Promise
from leansight.runtime.bundle import Bundle, Precision
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.preprocessing import Image
from leansight.sdk.models.build import build_network
from leansight.sdk.recipes.load import load_recipe

RECIPES: dict[str, Precision] = {"traffic-signs-tiny": "int8", "traffic-signs-small": "float32"}
LABELS = tuple(f"class {number}" for number in range(43))
GOLDEN_PHOTOS = 8
# Weights by chance decide by a hair: int8 may decide otherwise than torch as often as it likes.
OPTIONS = ExportOptions(
    promise=Promise(max_drop=100, max_class_drop=100), effort="calibration", accept_untrained=True
)


@dataclass(frozen=True)
class Labelled:
    """Pixels (N, S, S, C) uint8 and their classes (N,) int64."""

    pixels: Image
    classes: np.ndarray[tuple[int], np.dtype[np.int64]]


def make_bundle(folder: Path, recipe_name: str, precision: Precision) -> None:
    """Export a recipe's untrained network in both formats, with golden photos of drawn pictures."""
    recipe = load_recipe(recipe_name)
    torch.manual_seed(0)
    network = build_network(
        recipe.model, classes=len(LABELS), channels=recipe.preprocessing.channels
    )
    draft = Bundle(
        path=folder / f"{recipe_name}-{precision}.bundle",
        name=recipe_name,
        labels=LABELS,
        preprocessing=recipe.preprocessing,
        decision=DecisionPolicy(threshold=0.5),
        precision=precision,
    )
    photos = [draw_image(seeded("photo", number)) for number in range(len(LABELS))]
    pixels = np.concatenate([recipe.preprocessing(photo) for photo in photos])
    images = ExportImages(
        calibration=pixels,
        validation=Labelled(pixels, np.arange(len(photos)) % len(LABELS)),
        golden=photos[:GOLDEN_PHOTOS],
    )
    export_network(network, draft, images, OPTIONS, progress=lambda *_: None)


def main(argv: Sequence[str] | None = None) -> int:
    """Write FOLDER/RECIPE-PRECISION.bundle for each recipe."""
    parser = argparse.ArgumentParser(
        prog="recipe_bundles.py", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args(argv)
    for recipe_name, precision in RECIPES.items():
        make_bundle(arguments.folder, recipe_name, precision)
    return 0


if __name__ == "__main__":
    sys.exit(main())
