from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models

FRAMES = 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """12 videos of 3 frames for each label, every 10th labelled wrongly."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for place, label in enumerate(tiny_models.LABELS):
        (root / label).mkdir(parents=True)
        for video in range(12):
            shown = tiny_models.LABELS[(place + (video == 9)) % 3]
            for frame in range(FRAMES):
                picture = tiny_models.stripes(shown) // 2 + rng.integers(0, 2, (8, 8), np.uint8)
                assert cv2.imwrite(str(root / label / f"{video}_{frame}.png"), picture)
    return root
