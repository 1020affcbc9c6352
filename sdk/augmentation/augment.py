"""One image changed at random, with the class that it then shows."""

from collections.abc import Sequence

import numpy as np

from leansight.runtime.preprocessing import Image
from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.geometric import Mirror
from leansight.sdk.augmentation.lazy_image import LazyImage


def augment(
    scene: Image,
    target: np.int64 | Image,
    changes: Sequence[Change],
    mirrored: Sequence[int] | None,
    rng: np.random.Generator,
) -> tuple[Image, np.int64 | Image]:
    """Return one scene (H, W, 3) uint8 RGB changed at random, with the class that it now shows."""
    image = LazyImage(scene)
    for change in changes:
        if rng.random() >= change.probability:
            continue
        if isinstance(change, Mirror) and mirrored is not None:
            become = mirrored[int(target)]
            if become < 0:
                continue
            target = np.int64(become)
        change(image, rng)
    return image.pixels, target


def mirrored_labels(changes: Sequence[Change], labels: Sequence[str]) -> list[int]:
    """Return for each class which one its mirror image shows, or -1 where it shows none."""
    for change in changes:
        if isinstance(change, Mirror):
            become = [change.becomes(label) for label in labels]
            return [labels.index(name) if name in labels else -1 for name in become]
    return list(range(len(labels)))
