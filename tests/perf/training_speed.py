"""Print how fast `leansight train` is beside a bare PyTorch loop of the same network.

    python tests/perf/training_speed.py [--recipe traffic-signs-small] [--images 640] [--rounds 3]
        [--set training.trainable_layers=0 ...]

Both read the same scenes with the same changes, in turns, so that a busy machine slows both. The
loader alone is timed as well. Images per second; the ratios are what counts.
"""

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from leansight.sdk.augmentation.augment import mirrored_labels
from leansight.sdk.data.images import ImageSet
from leansight.sdk.models.build import build_network
from leansight.sdk.models.layer_groups import freeze
from leansight.sdk.models.networks import network_input
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.run import RunConfig
from leansight.sdk.training.batches import (
    Images,
    TrainingScenes,
    scene_preprocessing,
    training_batches,
)
from leansight.sdk.training.lightning_module import one_cycle, optimiser
from leansight.sdk.training.train import train_network
from leansight.sdk.training.trainer import Hardware

LABELS = tuple(f"class-{i:02}" for i in range(21))
WORKERS = 2


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="traffic-signs-small")
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    arguments = parser.parse_args()
    fixed = ("epochs=1", "half_size_share=0", "find_learning_rate=false", "schedule=one-cycle")
    recipe = load_recipe(
        arguments.recipe,
        [*arguments.overrides, *(f"training.{f}" for f in fixed), "model.pretrained=false"],
    )
    scenes = random_scenes(recipe, arguments.images)
    ways = {"leansight train": trained, "bare loop": bare, "loader alone": loaded}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, measure in ways.items():
            speeds[name].append(measure(recipe, scenes))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, speed in medians.items():
        print(f"{name:16s} {speed:8.1f} images/s, {speed / medians['bare loop']:.2f} of the bare")


def random_scenes(recipe: Recipe, count: int) -> ImageSet:
    """Return scenes of the recipe's size, of smooth random colours."""
    scene = scene_preprocessing(recipe.preprocessing, recipe.training.scene_scale)
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)
    return ImageSet(
        pixels=np.concatenate([scene(photo) for photo in photos]),
        classes=rng.integers(0, len(LABELS), count),
    )


def batches_of(recipe: Recipe, scenes: ImageSet) -> torch.utils.data.DataLoader:
    """Return what training reads."""
    mirrored = mirrored_labels(recipe.augmentation, LABELS)
    changing = TrainingScenes(scenes, recipe.augmentation, mirrored, recipe.preprocessing)
    size = recipe.training.batch_size
    return training_batches(changing, batch_size=size, seed=0, workers=WORKERS)


def trained(recipe: Recipe, scenes: ImageSet) -> float:
    """Return what a training logs of itself."""
    few = ImageSet(
        pixels=np.zeros((len(LABELS), *recipe.preprocessing.shape[1:]), np.uint8),
        classes=np.arange(len(LABELS)),
    )
    images = Images(scenes=scenes, validation=few, shifted=few)
    start = RunConfig(data=Path(), recipe=recipe, labels=LABELS)
    with tempfile.TemporaryDirectory() as folder:
        train_network(
            start,
            images,
            [str(i) for i in range(len(scenes.classes))],
            out=Path(folder),
            on=Hardware(workers=WORKERS),
        )
        with (Path(folder) / "checkpoints" / "metrics.csv").open(newline="") as rows:
            (speed,) = [r["images_per_s"] for r in csv.DictReader(rows) if r["images_per_s"]]
    return float(speed)


def bare(recipe: Recipe, scenes: ImageSet) -> float:
    """Return the speed of the loop that everybody writes."""
    torch.manual_seed(0)
    channels = recipe.preprocessing.channels
    network = build_network(recipe.model, classes=len(LABELS), channels=channels)
    network = network.to(memory_format=torch.channels_last)
    freeze(network, recipe.training.trainable_layers)
    learnt = [p for p in network.train().parameters() if p.requires_grad]
    groups = [{"params": learnt, "lr": recipe.training.learning_rate}]
    chosen = optimiser(recipe.training, groups, recipe.training.learning_rate)
    batches = batches_of(recipe, scenes)
    schedule = one_cycle(chosen, len(batches))
    seen, start = 0, time.perf_counter()
    for batch in batches:
        loss = functional.cross_entropy(network(network_input(batch.pixels)), batch.targets)
        chosen.zero_grad()
        loss.backward()
        chosen.step()
        schedule.step()
        seen += len(batch.targets)
    return seen / (time.perf_counter() - start)


def loaded(recipe: Recipe, scenes: ImageSet) -> float:
    """Return the speed of reading alone."""
    start = time.perf_counter()
    seen = sum(len(batch.targets) for batch in batches_of(recipe, scenes))
    return seen / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
