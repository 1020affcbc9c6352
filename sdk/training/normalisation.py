"""The mean and deviation of the training images, to which pretrained weights are adapted."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from leansight.sdk.data.images import ImageSet
from leansight.sdk.data.statistics import LEVELS, colour_moments, mean_and_deviation
from leansight.sdk.runs.begin import is_first_process
from leansight.sdk.runs.run import RunConfig
from leansight.sdk.system.console import console

_LEAST_DEVIATION: Final = 0.001  # a quarter of a gray level: what flat pictures are divided by


def measure_normalisation(start: RunConfig, scenes: ImageSet, out: Path) -> RunConfig:
    """Measure each colour of the training images, and write it into the run's recipe.

    `scenes`: pixels (N, S, S, 3) uint8 RGB, as the network is shown them before augmentation.
    Every image weighs the same; as shares of 255, with four digits.
    """
    means, squares = np.zeros((2, len(scenes.pixels), 3))
    for index, pixels in enumerate(scenes.pixels):
        means[index], squares[index] = colour_moments(pixels)
    mean, deviation = (_of_1(values) for values in mean_and_deviation(means, squares))
    deviation = tuple(max(value, _LEAST_DEVIATION) for value in deviation)
    console().print(f"training images: mean {mean}, deviation {deviation}", highlight=False)
    model = replace(start.recipe.model, mean=mean, deviation=deviation)
    start = replace(start, recipe=replace(start.recipe, model=model))
    if is_first_process():
        start.save(out)
    return start


def _of_1(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value) / LEVELS, 4) for value in values)
