"""Every change by its name in a recipe."""

from collections.abc import Mapping, Sequence
from typing import Final

from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.geometric import Affine, Crop, Elastic, Margins, Mirror, Perspective
from leansight.sdk.augmentation.occlusion import Erase, Sticker
from leansight.sdk.augmentation.photometric import Colour, Exposure, NarrowContrast, Shade, Tone
from leansight.sdk.augmentation.sharpness import Blur, Coarse, Compression, Noise, Stroke

CHANGES: Final[Mapping[str, type[Change]]] = {
    change.kind: change
    for change in (
        *(Mirror, Affine, Margins, Crop, Perspective, Elastic),
        *(Colour, Exposure, Tone, NarrowContrast, Shade),
        *(Blur, Coarse, Stroke, Noise, Compression),
        *(Erase, Sticker),
    )
}


def mirrored_labels(changes: Sequence[Change], labels: Sequence[str]) -> list[int]:
    """Return for each class which one its mirror image shows, or -1 where it shows none."""
    for change in changes:
        if isinstance(change, Mirror):
            become = [change.becomes(label) for label in labels]
            return [labels.index(name) if name in labels else -1 for name in become]
    return list(range(len(labels)))
