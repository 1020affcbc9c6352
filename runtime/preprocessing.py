"""How an image becomes what the network sees: the only implementation, everywhere."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.extras import opencv

Image = NDArray[np.uint8]
"""Pixels: one picture (H, W, 3) or (H, W) uint8, BGR as a camera gives it, or a batch of them."""
Colour = Literal["gray", "rgb"]
Fit = Literal["stretch", "letterbox", "centre-crop"]
Interpolation = Literal["area", "linear", "nearest"]

CHANNELS: Final[Mapping[Colour, int]] = {"gray": 1, "rgb": 3}
MAX_SIZE: Final = 1 << 14  # pixels of a side: more is a slip of the keyboard
# Every network sees (pixel - 128) / 128, in [-1, 1): as int8 that is exactly pixel - 128 with
# scale 1/128, so a quantized graph needs no arithmetic for it (docs/decisions/0002).
PIXEL_ZERO: Final = 128
PIXEL_SCALE: Final = 1 / 128
# Letterbox bars are black, as the zero padding of a photo's surroundings in training is.
BAR_VALUE: Final = 0
# Gaussians of 1 and 1.6 pixels (Marr & Hildreth, 1980) in 256ths, and what their difference is
# multiplied by: the sharpest edge from black to white then takes 111 of the 128 levels.
_NARROW: Final = (1, 14, 62, 102, 62, 14, 1)
_WIDE: Final = (3, 11, 29, 53, 64, 53, 29, 11, 3)
_DIFFERENCE_GAIN: Final = 4


@dataclass(frozen=True, kw_only=True)
class Clahe:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994).

    `clip_limit` is OpenCV's (a multiple of the mean bin height, > 0); the picture is divided
    into `tiles` × `tiles` regions (1 or more).
    """

    clip_limit: float = 2.0
    tiles: int = 4

    def __post_init__(self) -> None:
        if not self.clip_limit > 0:
            raise ValueError(f"clahe.clip_limit must be above 0, not {self.clip_limit}")
        if not isinstance(self.tiles, int) or self.tiles < 1:
            raise ValueError(f"clahe.tiles must be a whole number from 1, not {self.tiles}")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Turns a photo of any size into the `(1, size, size, channels)` uint8 batch of a network.

    The order is fit, colour, resize, CLAHE: CLAHE after the resize costs the same for every
    camera. `area` averages whole blocks of pixels first, then interpolates the rest of the way;
    where it enlarges it is `linear`. With `difference_of_gaussians` there is one more channel,
    the last: the edges of the gray picture after CLAHE, 128 where there are none
    (docs/decisions/0006). Normalisation belongs to the network's graph, so pixels stay uint8.
    The same image gives the same bytes on x86 and ARM; `read_image` makes it of a file, with
    transparent pixels on white and 16 bits scaled by their own range (docs/decisions/0018).
    """

    size: int
    colour: Colour = "rgb"
    clahe: Clahe | None = None
    fit: Fit = "stretch"
    interpolation: Interpolation = "area"
    difference_of_gaussians: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"preprocessing.size must be a whole number from 1, not {self.size}")
        if self.size > MAX_SIZE:
            raise ValueError(f"preprocessing.size must be at most {MAX_SIZE}, not {self.size}")
        for name, value, allowed in (
            ("colour", self.colour, get_args(Colour)),
            ("fit", self.fit, get_args(Fit)),
            ("interpolation", self.interpolation, get_args(Interpolation)),
        ):
            if value not in allowed:
                raise ValueError(
                    f"preprocessing.{name} must be one of {', '.join(allowed)}, not {value!r}"
                )
        if not isinstance(edges := self.difference_of_gaussians, bool):
            raise ValueError(
                f"preprocessing.difference_of_gaussians must be true or false, not {edges!r}"
            )

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB, one more with the difference of Gaussians."""
        return CHANNELS[self.colour] + self.difference_of_gaussians

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The batch that a call returns: (1, size, size, channels)."""
        return (1, self.size, self.size, self.channels)

    def __call__(self, image: Image) -> Image:
        """Prepare one image.

        Args:
            image: (H, W, 3) uint8 in OpenCV's BGR order, or (H, W) uint8 gray; at least 1 × 1.

        Returns:
            (1, size, size, channels) uint8, contiguous; RGB order, then the edges.

        Raises:
            ValueError: another shape or dtype.
            MissingExtraError: OpenCV is not installed.

        """
        check_image(image)
        if self.colour == "gray":
            pixels = _resized(_fitted(_gray(image), self.fit), self.size, self.interpolation)
        else:
            pixels = _rgb(_resized(_fitted(image, self.fit), self.size, self.interpolation))
        if self.clahe is not None:
            pixels = _equalised(pixels, self.clahe)
        if self.difference_of_gaussians:
            pixels = np.dstack((pixels, _edges(pixels)))
        return pixels.reshape(self.shape).copy()  # never a view of the camera's own buffer

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Build from `to_dict`'s form.

        Raises:
            ValueError: a value is out of its range.
            TypeError: a name is unknown or missing.

        """
        clahe = values.get("clahe")
        return cls(**{**values, "clahe": None if clahe is None else Clahe(**clahe)})


def check_image(image: Image) -> None:
    """Raise ValueError unless `image` is (H, W, 3) or (H, W) uint8 with at least one pixel."""
    match image:
        case np.ndarray(shape=(_, _) | (_, _, 3), dtype=np.uint8) if image.size:
            return
        case np.ndarray():
            given = f"{image.shape} {image.dtype}"
        case _:
            given = type(image).__name__
    raise ValueError(
        "an image is a numpy array, (height, width, 3) or (height, width) uint8 with at least one "
        f"pixel, not {given}"
    )


def _is_gray(image: Image) -> bool:
    """Whether an image (H, W) or (H, W, 3) has no axis of channels."""
    return len(image.shape[2:]) == 0


def network_input(pixels: Image) -> NDArray[np.float32]:
    """Turn uint8 pixels into what a float network takes: float32 in [-1, 1), same shape."""
    return (pixels.astype(np.float32) - np.float32(PIXEL_ZERO)) * np.float32(PIXEL_SCALE)


def _gray(image: Image) -> Image:
    if _is_gray(image):
        return image
    cv2 = opencv()
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def _rgb(image: Image) -> Image:
    cv2 = opencv()
    code = cv2.COLOR_GRAY2RGB if _is_gray(image) else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(image, code)


def _fitted(image: Image, fit: Fit) -> Image:
    """Make the image square by cutting or by adding bars; a stretch leaves it as it is."""
    height, width = image.shape[:2]
    if fit == "stretch" or height == width:
        return image
    if fit == "centre-crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return image[top : top + side, left : left + side]
    side = max(height, width)
    square = np.full((side, side, *image.shape[2:]), BAR_VALUE, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square


def _resized(image: Image, size: int, interpolation: Interpolation) -> Image:
    cv2 = opencv()
    if image.shape[:2] == (size, size):
        return image
    # Only what gives the same bytes on every processor (docs/decisions/0003): INTER_LINEAR
    # differs between x86 and ARM by up to 12, INTER_AREA by 1 unless the factor is whole.
    if interpolation == "nearest":
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    if interpolation == "area":
        image = _averaged(image, size)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)


def _averaged(image: Image, size: int) -> Image:
    """Shrink by the whole factors that leave at least `size` pixels on each side.

    What is left over of a block, less than one pixel of the result, is cut off on both sides.
    """
    factors = [max(1, side // size) for side in image.shape[:2]]
    if factors == [1, 1]:
        return image
    cv2 = opencv()
    (height, top), (width, left) = (
        (side // factor, side % factor // 2)
        for side, factor in zip(image.shape[:2], factors, strict=True)
    )
    whole = image[top : top + height * factors[0], left : left + width * factors[1]]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def _equalised(pixels: Image, clahe: Clahe) -> Image:
    """Equalise gray pixels, or the lightness of RGB ones in CIELAB."""
    cv2 = opencv()
    equalise = cv2.createCLAHE(clahe.clip_limit, (clahe.tiles, clahe.tiles)).apply
    if _is_gray(pixels):
        return equalise(pixels)
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    lab[..., 0] = equalise(lab[..., 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def _edges(pixels: Image) -> Image:
    """Return the difference of two Gaussian blurs of gray or RGB pixels, around 128.

    In float32, yet exact: every sum is a whole number of at most 255 × 256², which is below
    2²⁴, so no order of additions and no fused instruction can change it. Rounding is half to even.
    """
    cv2 = opencv()
    gray = pixels if _is_gray(pixels) else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    narrow, wide = (
        cv2.sepFilter2D(gray, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
        for kernel in (np.array(_NARROW, np.float32), np.array(_WIDE, np.float32))
    )
    difference = (narrow - wide) * (_DIFFERENCE_GAIN / 256**2)
    edges: Image = np.clip(np.rint(difference) + PIXEL_ZERO, 0, 255).astype(np.uint8)
    return edges
