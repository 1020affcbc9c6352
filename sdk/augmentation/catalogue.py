"""Every change by its name in a recipe."""

from collections.abc import Mapping
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
