"""Print how fast training images are changed beside a bare OpenCV loop.

    python tests/perf/augmentation_speed.py [--recipe traffic-signs-tiny] [--images 1000]

The bare loop is what one would write by hand: one call of OpenCV or numpy for each of nine
changes, made always. It is no equal work: a recipe has more changes, each with a probability.
Both run on one thread, in turns; images per second and their ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from leansight.runtime.preprocessing import Image
from leansight.sdk.augmentation.augment import augment
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.training.batches import scene_preprocessing

ROUNDS = 5


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="traffic-signs-tiny")
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    recipe = load_recipe(arguments.recipe)
    side = scene_preprocessing(recipe.preprocessing, recipe.training.scene_scale).size
    noise = np.random.default_rng(0).integers(0, 256, (16, 9, 9, 3), np.uint8)
    scenes = [cv2.resize(photo, (side, side), interpolation=cv2.INTER_CUBIC) for photo in noise]
    mirrored = [0]

    def of_the_recipe(scene: Image, seed: int) -> Image:
        rng = np.random.default_rng((0, 0, seed))
        return augment(scene, np.int64(0), recipe.augmentation, mirrored, rng)[0]

    def prepared(scene: Image, seed: int) -> Image:
        return recipe.preprocessing(of_the_recipe(scene, seed))

    ways = {"leansight": of_the_recipe, "with preprocessing": prepared, "bare loop": bare}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            speeds[name].append(images_per_s(way, scenes, arguments.images))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, speed in medians.items():
        print(f"{name:18s} {speed:8.0f} images/s, {speed / medians['bare loop']:.2f} of the bare")


def images_per_s(way: Callable[[Image, int], Image], scenes: list[Image], count: int) -> float:
    """Return how many images a second one way changes."""
    start = time.perf_counter()
    for seed in range(count):
        way(scenes[seed % len(scenes)], seed)
    return count / (time.perf_counter() - start)


def bare(scene: Image, seed: int) -> Image:
    """Mirror, warp, bend, blur, shade, tone, mix and add noise, each in a call of its own."""
    rng = np.random.default_rng(seed)
    height, width = scene.shape[:2]
    image = cv2.flip(scene, 1)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-12, 12), 1.05)
    image = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    moved = corners + rng.uniform(-5, 5, (4, 2)).astype(np.float32)
    view = cv2.getPerspectiveTransform(corners, moved)
    image = cv2.warpPerspective(image, view, (width, height), borderMode=cv2.BORDER_REPLICATE)
    image = cv2.GaussianBlur(image, (5, 5), 0.8)
    light = np.linspace(0.7, 1.3, width, dtype=np.float32)[None, :, None]
    image = np.clip(image * light, 0, 255).astype(np.uint8)
    curve = 255 * (np.arange(256) / 255) ** rng.uniform(0.5, 2) * rng.uniform(0.5, 2)
    image = cv2.LUT(image, np.clip(curve, 0, 255).astype(np.uint8))
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    image = cv2.addWeighted(image, 0.7, gray, 0.3, 0)
    noise = rng.standard_normal(image.shape, np.float32) * 10
    return np.clip(image + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
