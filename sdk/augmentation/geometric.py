"""Changes of where things are: mirror, affine, margins, crop, perspective."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.random import Generator

from leansight.runtime.extras import opencv
from leansight.sdk.augmentation.change import Change, require_one_of
from leansight.sdk.augmentation.lazy_image import Fill, LazyImage, Matrix, as_image

Distribution = Literal["uniform", "normal"]


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

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Show the mirror image."""
        del rng
        image.warp(np.array([[-1.0, 0, image.width - 1], [0, 1, 0], [0, 0, 1]]))


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

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Warp the image by one random affine map around its middle."""

        def draw(amount: float) -> float:
            normal = self.distribution == "normal"
            return float(rng.normal(0, amount) if normal else rng.uniform(-amount, amount))

        zoom = max(1 + draw(self.zoom), 0.1)
        angle, shear = (math.radians(draw(d)) for d in (self.rotation_degrees, self.shear_degrees))
        cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
        matrix = np.array([[cosine, -sine], [sine, cosine]]) @ [[1, math.tan(shear)], [0, 1]]
        size = np.array([image.width, image.height])
        centre = (size - 1) / 2
        moved = centre + [draw(self.shift), draw(self.shift)] * size - matrix @ centre
        image.warp(np.vstack((np.column_stack((matrix, moved)), [0, 0, 1])), fill=self.fill)


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

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Take the other crop, whose sides differ from the image's."""
        left, top, right, bottom = (
            int(rng.uniform(-self.outward, self.inward) * side)
            for side in (image.width, image.height) * 2
        )
        size = (image.width - left - right, image.height - top - bottom)
        image.warp(_shifted(-left, -top), size=size)


@dataclass(frozen=True, kw_only=True)
class Crop(Change):
    """A crop of the image's own size after a black border of `padding` (share of the side)."""

    kind = "crop"
    padding: float = 0.0

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Move the image over black by a whole number of pixels."""
        x, y = (round(self.padding * side) for side in (image.width, image.height))
        image.warp(
            _shifted(rng.integers(-x, x, endpoint=True), rng.integers(-y, y, endpoint=True)),
            fill="black",
        )


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

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Show the image as seen from elsewhere."""
        right, bottom = image.width - 1, image.height - 1
        corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float32)
        inwards = rng.uniform(0, self.distortion / 2, corners.shape)
        seen = corners + inwards * ([right, bottom] - 2 * corners)
        image.warp(opencv().getPerspectiveTransform(corners, seen.astype(np.float32)))


@dataclass(frozen=True, kw_only=True)
class Elastic(Change):
    """Things bend: the points of a coarse grid move on their own, what is between them smoothly.

    Each of `points` × `points` places moves by a normal distribution's `sigma` (share of each
    side) in x and in y (U-Net, arXiv 1505.04597, section 3.1). What comes in from outside repeats
    the edge.
    """

    kind = "elastic"
    sigma: float = 0.0
    points: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("sigma", 0.25)
        if self.points <= 1:
            raise ValueError(f"augmentation elastic: points must be 2 or more, not {self.points}")

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Bend the image."""
        cv2 = opencv()
        width, height = image.width, image.height
        moves = rng.standard_normal((2, self.points, self.points), np.float32) * self.sigma
        across, down = (
            cv2.resize(m, (width, height), interpolation=cv2.INTER_CUBIC) for m in moves
        )
        x = np.arange(width, dtype=np.float32) + across * width
        y = np.arange(height, dtype=np.float32)[:, None] + down * height
        bent = cv2.remap(image.pixels, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
        image.pixels = as_image(bent)


def _shifted(x: float, y: float) -> Matrix:
    """Return the map that moves everything by x to the right and y down, in pixels."""
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])
