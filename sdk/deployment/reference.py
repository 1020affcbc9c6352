"""What a bundle tells of its validation images, by which a stream notices drift."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from leansight.runtime.stream.reference import range_of
from leansight.runtime.stream.visibility import measure_exposure
from leansight.sdk.data.images import images_folder, read_sample
from leansight.sdk.data.samples import Sample, draw

_PHOTOS: Final = 500  # of which the exposure is measured


def describe_photos(root: Path, samples: Sequence[Sample]) -> Mapping[str, Any]:
    """Return how many independent images there are, and the exposure of some; see `Reference`."""
    folder = images_folder(root)
    exposures = [measure_exposure(read_sample(folder, s)) for s in draw(samples, _PHOTOS)]
    return {
        "groups": len({sample.group for sample in samples}),
        "brightness": range_of([exposure.brightness for exposure in exposures]),
        "contrast": range_of([exposure.contrast for exposure in exposures]),
    }
