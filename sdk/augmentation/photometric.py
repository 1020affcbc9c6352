"""Random changes of an image, as recipes list them: each a validated table and the change itself.

Images are (3, H, W) uint8 RGB tensors before preprocessing, so that what the camera might have
seen is varied, and CLAHE, resizing and colour are those of the Pi. Randomness is torch's global
generator: whoever seeds it repeats the change.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.extras import opencv

if TYPE_CHECKING:  # listing recipes must not cost two seconds of importing torch
    from torch import Tensor

Fill = Literal["edge", "black"]
Distribution = Literal["uniform", "normal"]

LEVELS: Final = 255


@dataclass(frozen=True, kw_only=True)
class Change:
    """What every change has: `probability` (0 to 1) of being made."""

    kind: ClassVar[str]
    probability: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and (value < 0 or not math.isfinite(value)):
                raise ValueError(f"augmentation {self.kind}: {name} must be 0 or more, not {value}")
        if self.probability > 1:
            raise ValueError(
                f"augmentation {self.kind}: probability must be from 0 to 1, not {self.probability}"
            )

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return a changed copy, (3, H, W) uint8."""
        raise NotImplementedError

    def _at_most(self, name: str, limit: float) -> None:
        if getattr(self, name) > limit:
            value = getattr(self, name)
            raise ValueError(
                f"augmentation {self.kind}: {name} must be at most {limit:g}, not {value}"
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
        if any(len(pair) != 2 for pair in self.swapped):  # noqa: PLR2004 -- a pair
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
        _one_of(self, "distribution", self.distribution, get_args(Distribution))
        _one_of(self, "fill", self.fill, get_args(Fill))

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image under one random affine map."""
        draw = _normal if self.distribution == "normal" else _uniform
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
        sides = [_between(-self.outward, self.inward) for _ in range(4)]
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
        return v2.RandomCrop(size, padding=border)(image)  # type: ignore[no-any-return]


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
        inwards = [[_between(0, reach), _between(0, reach)] for _ in corners]
        seen = corners + inwards * ([right, bottom] - 2 * corners)
        matrix = opencv().getPerspectiveTransform(corners, seen.astype(np.float32))
        return _warped(image, matrix, "edge")


@dataclass(frozen=True, kw_only=True)
class Colour(Change):
    """Brightness, contrast, saturation by a factor of 1 ± the amount; hue by a share of the circle.

    In random order, as torchvision's ColorJitter.
    """

    kind = "colour"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("hue", 0.5)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image in other colours."""
        from torchvision.transforms import v2

        jitter = v2.ColorJitter(self.brightness, self.contrast, self.saturation, self.hue)
        return jitter(image)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Exposure(Change):
    """Under- and over-exposure by up to `stops` (1: half to double the light), clipped.

    `gamma` bends the curve by up to this many powers of two; `cast` is the standard deviation
    of each colour's own gain, in stops.
    """

    kind = "exposure"
    stops: float = 0.0
    gamma: float = 0.0
    cast: float = 0.0

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image under another light."""
        import torch

        light = (image / LEVELS) ** (2.0 ** _uniform(self.gamma))
        gains = _uniform(self.stops) + self.cast * torch.randn(3, 1, 1)
        return _levels(light * LEVELS * 2.0**gains)


@dataclass(frozen=True, kw_only=True)
class NarrowContrast(Change):
    """Squeeze the image into part of the levels: at least `least` of its contrast is left.

    The mean moves anywhere between `darkest` and `brightest` (levels): S1's dark and bright
    signs.
    """

    kind = "narrow-contrast"
    least: float = 0.5
    darkest: float = 40.0
    brightest: float = 215.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("least", 1)
        self._at_most("darkest", min(self.brightest, LEVELS))
        self._at_most("brightest", LEVELS)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image with less contrast around another mean."""
        pixels = image.float()
        mean = _between(self.darkest, self.brightest)
        return _levels((pixels - pixels.mean()) * _between(self.least, 1) + mean)


@dataclass(frozen=True, kw_only=True)
class Shade(Change):
    """Light that changes from one side to the other by up to ± `amount` at the edges."""

    kind = "shade"
    amount: float = 0.0

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image under light from one side."""
        import torch

        height, width = image.shape[-2:]
        across = torch.linspace(-1, 1, width) * _uniform(self.amount)
        down = torch.linspace(-1, 1, height)[:, None] * _uniform(self.amount)
        return _levels(image * (1 + across + down))


@dataclass(frozen=True, kw_only=True)
class Blur(Change):
    """Gaussian blur of up to `sigma` (share of the shorter side; 0.01 of 96 pixels: about one)."""

    kind = "blur"
    sigma: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("sigma", 0.25)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the blurred image."""
        cv2 = opencv()
        sigma = _between(0.1, max(0.1, self.sigma * min(image.shape[-2:])))
        kernel = (2 * math.ceil(2 * sigma) + 1,) * 2
        return _from_pixels(cv2.GaussianBlur(_pixels(image), kernel, sigma))


@dataclass(frozen=True, kw_only=True)
class Coarse(Change):
    """The image as a smaller one shows it: down to `least` (share of the side), and up again."""

    kind = "coarse"
    least: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("least", 1)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image with fewer details."""
        from torchvision.transforms.v2 import functional

        size = [int(side) for side in image.shape[-2:]]
        share = _between(self.least, 1)
        small = functional.resize(image, [max(4, round(share * side)) for side in size])
        return functional.resize(small, size)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Stroke(Change):
    """Thicker or thinner strokes, as another country's font has: dark or light grows by a pixel."""

    kind = "stroke"

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image eroded or dilated over 3×3 pixels."""
        cv2 = opencv()
        grow = cv2.dilate if _between(0, 1) < 0.5 else cv2.erode  # noqa: PLR2004 -- a coin
        return _from_pixels(grow(_pixels(image), np.ones((3, 3), np.uint8)))


@dataclass(frozen=True, kw_only=True)
class Noise(Change):
    """Gaussian noise of each pixel, of up to `sigma` levels."""

    kind = "noise"
    sigma: float = 8.0

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the noisy image."""
        import torch

        return _levels(image + torch.randn(image.shape) * _between(0, self.sigma))


@dataclass(frozen=True, kw_only=True)
class Erase(Change):
    """Something in front: a rectangle of up to `share` of the area in one random colour."""

    kind = "erase"
    share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("share", 0.5)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the partly covered image."""
        import torch
        from torchvision.transforms import v2

        colour = torch.randint(0, LEVELS + 1, (3,)).tolist()
        erase = v2.RandomErasing(p=1, scale=(self.share / 10, self.share), value=colour)
        return erase(image)  # type: ignore[no-any-return]


CHANGES: Final[Mapping[str, type[Change]]] = {
    change.kind: change
    for change in (
        *(Mirror, Affine, Margins, Crop, Perspective),
        *(Colour, Exposure, NarrowContrast, Shade),
        *(Blur, Coarse, Stroke, Noise, Erase),
    )
}


def mirrored_labels(changes: Sequence[Change], labels: Sequence[str]) -> list[int]:
    """Return for each class which one its mirror image shows, or -1 where it shows none."""
    for change in changes:
        if isinstance(change, Mirror):
            become = [change.becomes(label) for label in labels]
            return [labels.index(name) if name in labels else -1 for name in become]
    return list(range(len(labels)))


def _warped(image: "Tensor", matrix: NDArray[np.float64], fill: Fill) -> "Tensor":
    """Move every point (x, y, 1) to `matrix` (3, 3) times it.

    By OpenCV, which repeats the edge without a padded copy: eight times as fast as torchvision.
    """
    cv2 = opencv()
    height, width = image.shape[-2:]
    border = cv2.BORDER_REPLICATE if fill == "edge" else cv2.BORDER_CONSTANT
    moved = cv2.warpPerspective(
        _pixels(image), matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border
    )
    return _from_pixels(moved)


def _pixels(image: "Tensor") -> NDArray[np.uint8]:
    """Return (H, W, 3) for OpenCV."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _from_pixels(pixels: NDArray[np.uint8]) -> "Tensor":
    import torch

    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _levels(values: "Tensor") -> "Tensor":
    """Round to whole levels, cut off at black and white."""
    import torch

    return values.round().clamp(0, LEVELS).to(torch.uint8)


def _between(low: float, high: float) -> float:
    import torch

    return float(torch.empty(()).uniform_(low, high)) if high > low else low


def _uniform(limit: float) -> float:
    return _between(-limit, limit)


def _normal(deviation: float) -> float:
    import torch

    return float(torch.randn(())) * deviation


def _one_of(change: Change, name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(
            f"augmentation {change.kind}: {name} must be one of {', '.join(allowed)}, not {value!r}"
        )
