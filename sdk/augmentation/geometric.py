"""Changes of where things are: mirror, affine, margins, crop, perspective."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

if TYPE_CHECKING:  # listing recipes must not cost two seconds of importing torch
    from torch import Tensor
from numpy.typing import NDArray

from leansight.runtime.extras import opencv
from leansight.sdk.augmentation.change import (
    Change,
    Distribution,
    Fill,
    between,
    from_pixels,
    normal,
    require_one_of,
    to_pixels,
    uniform,
)


@dataclass(frozen=True, kw_only=True)
class Mirror(Change):
    """Left becomes right.

    `labels`: classes that stay what they are (none named: all); each of `swapped` is a pair of
    classes that become each other. An image of any other class is never mirrored; a name that
    the data lacks is passed over, so that a recipe serves data of fewer classes.
    """

    kind = "mirror"
    probability: float = 0.5
    labels: tuple[str, ...] = ()
    swapped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(len(pair[1:]) != 1 for pair in self.swapped):
            raise ValueError("augmentation mirror: swapped holds pairs of class names")

    def becomes(self, label: str) -> str | None:
        """Return what an image of a class shows when mirrored; None if nothing of the task."""
        for one, other in self.swapped:
            if label in (one, other):
                return other if label == one else one
        if label in self.labels or not (self.labels or self.swapped):
            return label
        return None

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the mirror image."""
        return image.flip(-1)


@dataclass(frozen=True, kw_only=True)
class Affine(Change):
    """Rotation, shift, zoom and shear in one resampling.

    `shift` is a share of each side, `zoom` a relative change of size (0.1: ×0.9 to ×1.1). With
    the "normal" distribution the amounts are standard deviations instead of limits. What comes
    in from outside repeats the "edge" or is "black".
    """

    kind = "affine"
    rotation_degrees: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    shear_degrees: float = 0.0
    distribution: Distribution = "uniform"
    fill: Fill = "edge"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("zoom", 0.9)
        self._at_most("shift", 1)
        require_one_of(self, "distribution", self.distribution, get_args(Distribution))
        require_one_of(self, "fill", self.fill, get_args(Fill))

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image under one random affine map."""
        draw = normal if self.distribution == "normal" else uniform
        zoom = max(1 + draw(self.zoom), 0.1)
        angle, shear = (math.radians(draw(d)) for d in (self.rotation_degrees, self.shear_degrees))
        cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
        matrix = np.array([[cosine, -sine], [sine, cosine]]) @ [[1, math.tan(shear)], [0, 1]]
        size = np.array(image.shape[:0:-1])
        centre = (size - 1) / 2
        moved = centre + [draw(self.shift), draw(self.shift)] * size - matrix @ centre
        return _warped(image, np.vstack((np.column_stack((matrix, moved)), [0, 0, 1])), self.fill)


@dataclass(frozen=True, kw_only=True)
class Margins(Change):
    """Another crop: each side moves on its own by up to these shares of the image's side.

    `inward` cuts away; `outward` repeats the edge.
    """

    kind = "margins"
    inward: float = 0.0
    outward: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("inward", 0.45)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the other crop, whose sides differ from the image's."""
        from torchvision.transforms.v2 import functional

        height, width = image.shape[-2:]
        sides = [between(-self.outward, self.inward) for _ in range(4)]
        left, top, right, bottom = (
            int(s * n) for s, n in zip(sides, (width, height, width, height), strict=True)
        )
        padding = [max(0, -side) for side in (left, top, right, bottom)]
        image = functional.pad(image, padding, padding_mode="edge")
        height, width = image.shape[-2:]
        cut = [max(0, side) for side in (left, top, right, bottom)]
        return image[:, cut[1] : height - cut[3], cut[0] : width - cut[2]]


@dataclass(frozen=True, kw_only=True)
class Crop(Change):
    """A crop of the image's own size after a black border of `padding` (share of the side)."""

    kind = "crop"
    padding: float = 0.0

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the crop."""
        from torchvision.transforms import v2

        size = [int(side) for side in image.shape[-2:]]
        border = [round(self.padding * side) for side in reversed(size)]
        cropped: Tensor = v2.RandomCrop(size, padding=border)(image)
        return cropped


@dataclass(frozen=True, kw_only=True)
class Perspective(Change):
    """Another point of view; each corner moves inwards by up to `distortion` of half the side.

    What comes in from outside repeats the edge.
    """

    kind = "perspective"
    distortion: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("distortion", 1)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image seen from elsewhere."""
        right, bottom = (side - 1 for side in image.shape[:0:-1])
        corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float32)
        reach = self.distortion / 2
        inwards = [[between(0, reach), between(0, reach)] for _ in corners]
        seen = corners + inwards * ([right, bottom] - 2 * corners)
        matrix = opencv().getPerspectiveTransform(corners, seen.astype(np.float32))
        return _warped(image, matrix, "edge")


def _warped(image: "Tensor", matrix: NDArray[np.float64], fill: Fill) -> "Tensor":
    """Move every point (x, y, 1) to `matrix` (3, 3) times it.

    By OpenCV, which repeats the edge without a padded copy: eight times as fast as torchvision.
    """
    cv2 = opencv()
    height, width = image.shape[-2:]
    border = cv2.BORDER_REPLICATE if fill == "edge" else cv2.BORDER_CONSTANT
    moved = cv2.warpPerspective(
        to_pixels(image), matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border
    )
    return from_pixels(moved)
