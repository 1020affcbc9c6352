"""How an image becomes what the network sees: the only implementation, everywhere."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.extras import opencv
from leansight.runtime.pixels import compiled, with_opencv

Image = NDArray[np.uint8]
"""Pixels: one picture (H, W, 3) or (H, W) uint8, BGR as a camera gives it, or a batch of them."""
Colour = Literal["gray", "rgb"]
Fit = Literal["stretch", "letterbox", "centre-crop"]
Interpolation = Literal["area", "linear", "nearest"]

CHANNELS: Final[Mapping[Colour, int]] = {"gray": 1, "rgb": 3}
MAX_SIZE: Final = 1 << 12  # pixels of a side: more is a slip of the keyboard
MAX_ASPECT: Final = 32  # a letterbox of a longer one is nearly all bars, which cost time
MAX_TILES: Final = 1 << 8
# Every network sees (pixel - 128) / 128, in [-1, 1): as int8 that is exactly pixel - 128 with
# scale 1/128, so a quantized graph needs no arithmetic for it (docs/decisions/0002).
PIXEL_ZERO: Final = 128
PIXEL_SCALE: Final = 1 / 128
# Version 2 gives the same bytes on every processor; 1 is that of bundles without a version
# (docs/decisions/0003).
VERSION: Final = 2
VERSIONS: Final = (1, VERSION)


@dataclass(frozen=True, kw_only=True)
class Clahe:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994).

    `clip_limit` is OpenCV's (a multiple of the mean bin height, > 0); the picture is divided
    into `tiles` × `tiles` regions (1 to 256), whose side is rounded up.
    """

    clip_limit: float = 2.0
    tiles: int = 4

    def __post_init__(self) -> None:
        if isinstance(self.clip_limit, bool) or not 0 < self.clip_limit < np.inf:
            raise ValueError(f"clahe.clip_limit must be above 0, not {self.clip_limit}")
        if type(self.tiles) is not int or self.tiles < 1:
            raise ValueError(f"clahe.tiles must be a whole number from 1, not {self.tiles}")
        if self.tiles > MAX_TILES:
            raise ValueError(f"clahe.tiles must be at most {MAX_TILES}, not {self.tiles}")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Turns a photo of any size into the `(1, height, width, channels)` uint8 batch of a network.

    `size` is the side of a square, or (height, width), in pixels: 1 to 4096, neither more than 32
    times the other. `stretch` changes the photo's proportions, `centre-crop` takes the largest
    part from its middle that has the network's, `letterbox` puts black bars beside it.

    The order is fit, colour, resize, CLAHE: CLAHE after the resize costs the same for every
    camera. `area` averages whole blocks of pixels first, then interpolates the rest of the way;
    where it enlarges it is `linear`. With `difference_of_gaussians` there is one more channel,
    the last: the edges of the gray picture after CLAHE, 128 where there are none
    (docs/decisions/0006). Normalisation belongs to the network's graph, so pixels stay uint8.
    `read_image` makes the image of a file, with transparent pixels on white and 16 bits scaled by
    their own range (docs/decisions/0018).

    With any settings the same image gives the same bytes on x86 and ARM, in C (pixels/prepare.c)
    and, where that was not compiled, with OpenCV. A bundle made before there was a `version` has
    version 1 and gets the bytes that it always got, from OpenCV: with CLAHE whose tiles' side is
    no power of two, they differ between processors.
    """

    size: int | tuple[int, int]
    colour: Colour = "rgb"
    clahe: Clahe | None = None
    fit: Fit = "stretch"
    interpolation: Interpolation = "area"
    difference_of_gaussians: bool = False
    version: int = VERSION

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _checked_size(self.size))
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
        if type(self.version) is not int or self.version not in VERSIONS:
            raise ValueError(
                f"preprocessing.version is {self.version!r}; this leansight knows 1 and {VERSION}"
            )
        if self.version < VERSION and self.height != self.width:
            raise ValueError(f"preprocessing.size {self.size} needs version {VERSION}, not 1")

    @property
    def height(self) -> int:
        """Pixels from the top to the bottom of what the network sees."""
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def width(self) -> int:
        """Pixels from the left to the right of what the network sees."""
        return self.size if isinstance(self.size, int) else self.size[1]

    @property
    def size_text(self) -> str:
        """Height × width, as people read it: 96×128."""
        return f"{self.height}×{self.width}"

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB, one more with the difference of Gaussians."""
        return CHANNELS[self.colour] + self.difference_of_gaussians

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The batch that a call returns: (1, height, width, channels)."""
        return (1, self.height, self.width, self.channels)

    def __call__(self, image: Image) -> Image:
        """Prepare one image.

        Args:
            image: (H, W, 3) uint8 in OpenCV's BGR order, or (H, W) uint8 gray; at least 1 × 1.

        Returns:
            (1, height, width, channels) uint8, contiguous; RGB order, then the edges.

        Raises:
            ValueError: another shape or dtype.
            MissingExtraError: OpenCV is needed and not installed.

        """
        check_image(image)
        library = compiled.library() if self.version == VERSION else None
        if library is None:
            return self._with_opencv(image)
        return compiled.prepare(library, image, self._settings, self.shape)

    @cached_property
    def _settings(self) -> compiled.Settings:
        clahe = self.clahe or Clahe()
        return compiled.Settings.of(
            height=self.height,
            width=self.width,
            gray=self.colour == "gray",
            fit=self.fit,
            interpolation=self.interpolation,
            tiles=0 if self.clahe is None else clahe.tiles,
            clip_limit=clahe.clip_limit,
            edges=self.difference_of_gaussians,
        )

    def _with_opencv(self, image: Image) -> Image:
        cv2 = opencv()
        old, size = self.version < VERSION, (self.height, self.width)
        resized = with_opencv.resized_version_1 if old else with_opencv.resized
        equalised = with_opencv.equalised_version_1 if old else with_opencv.equalised
        if self.colour == "gray":
            image = with_opencv.gray(cv2, image)
        if self.fit == "letterbox" and not old:
            pixels = with_opencv.letterboxed(cv2, image, size, self.interpolation)
        else:
            fitted = with_opencv.fitted(image, self.fit, size)
            pixels = resized(cv2, fitted, size, self.interpolation)
        if self.colour == "rgb":
            pixels = with_opencv.rgb(cv2, pixels)
        if self.clahe is not None:
            pixels = equalised(cv2, pixels, self.clahe.clip_limit, self.clahe.tiles)
        if self.difference_of_gaussians:
            pixels = np.dstack((pixels, with_opencv.edges(cv2, pixels)))
        return pixels.reshape(self.shape).copy()  # never a view of the camera's own buffer

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, as plain JSON values."""
        values = asdict(self)
        return values if isinstance(self.size, int) else values | {"size": list(self.size)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Build from `to_dict`'s form; what has no version is of version 1.

        Raises:
            ValueError: a value is out of its range.
            TypeError: a name is unknown or missing.

        """
        clahe = values.get("clahe")
        known = {"version": 1, **values, "clahe": None if clahe is None else Clahe(**clahe)}
        return cls(**known)


def _checked_size(size: object) -> int | tuple[int, int]:
    """Return the side of a square, or (height, width); ValueError for anything else."""
    sides = size if isinstance(size, list | tuple) else (size, size)
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):  # noqa: PLR2004
        raise ValueError(
            "preprocessing.size must be a whole number from 1, or two, height and width, not "
            + str(size)[:40]
        )
    height, width = sides
    if max(sides) > MAX_SIZE:
        raise ValueError(f"preprocessing.size must be at most {MAX_SIZE}, not {size}")
    if max(sides) > MAX_ASPECT * min(sides):
        raise ValueError(
            f"preprocessing.size: no side can be over {MAX_ASPECT} times the other, as in {size}"
        )
    return height if height == width else (height, width)


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


def network_input(pixels: Image) -> NDArray[np.float32]:
    """Turn uint8 pixels into what a float network takes: float32 in [-1, 1), same shape."""
    return (pixels.astype(np.float32) - np.float32(PIXEL_ZERO)) * np.float32(PIXEL_SCALE)
