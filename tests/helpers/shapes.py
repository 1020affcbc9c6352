"""Pictures of three shapes that a tiny network learns to tell apart in seconds."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

LABELS = ("bars", "cross", "disc")

# A recipe that learns them: two of six videos of each class to validate.
RECIPE = """
name = "tiny"
description = "Learns three shapes in seconds"

[preprocessing]
size = 32
colour = "gray"

[split]
validation = 0.34

[model]
width = 4
blocks = [1, 1]
dropout = 0

[training]
epochs = 10
batch_size = 8
learning_rate = 0.05

[decision]
threshold = 0.5
"""


def draw(label: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a (40, 40, 3) picture: a bright shape near the middle of a dark, uneven ground."""
    ground = rng.integers(10, 110, (5, 5, 3), dtype=np.uint8)
    picture = cv2.resize(ground, (40, 40), interpolation=cv2.INTER_LINEAR)
    ink = tuple(int(n) for n in rng.integers(150, 255, 3))
    x, y = (int(n) for n in rng.integers(18, 23, 2))
    match label:
        case "bars":
            for dy in (-10, 0, 10):
                cv2.line(picture, (x - 14, y + dy), (x + 14, y + dy), ink, 3)
        case "cross":
            cv2.line(picture, (x - 12, y - 12), (x + 12, y + 12), ink, 3)
            cv2.line(picture, (x - 12, y + 12), (x + 12, y - 12), ink, 3)
        case "disc":
            cv2.circle(picture, (x, y), 13, ink, -1)
    return picture


def photos(count: int, seed: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Return pictures of the labels in turn, with their classes."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count, dtype=np.int64) % len(LABELS)
    return [draw(LABELS[c], rng) for c in classes], classes


def write_data_set(root: Path, *, videos: int = 6, seed: int = 0) -> Path:
    """Write so many videos of 4 frames for each label; return `root`."""
    rng = np.random.default_rng(seed)
    for label in LABELS:
        (root / label).mkdir(parents=True)
        for video in range(videos):
            for frame in range(4):
                file = root / label / f"{video:05}_{frame:05}.png"
                assert cv2.imwrite(str(file), draw(label, rng))
    return root
