"""Whether a picture shows anything: covered, blinded, flat and noise are found by numpy alone."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.preprocessing import Image

Fault = Literal["covered", "blinded", "flat", "noise"]
REASONS: Final[dict[Fault, str]] = {
    "covered": "the picture is black: is the lens covered?",
    "blinded": "the picture is white: is the camera blinded, or the exposure too long?",
    "flat": "the picture shows one flat colour: is there fog, a cap, or dirt on the lens?",
    "noise": "the picture is noise alone: is the camera broken, or is it too dark?",
}

# Chosen on real photos: decision 25. All are levels of 0 to 255.
_NO_CONTRAST: Final = 1.2  # standard deviation of the blocks; of real photos at least 2.4
_DARK: Final = 16.0  # mean below which a picture without contrast has no texture either
_BLACK: Final = 40.0  # mean below which a picture that shows nothing is called black
_WHITE: Final = 235.0  # and from which it is called white
_SATURATED: Final = 250.0  # reached by all but two in a hundred blocks of a blinded picture
_LOUD: Final = 8.0  # standard deviation of pixels from which noise is called so
_TEXTURE: Final = 2.4  # and from which correlated neighbours are a texture
_CORRELATED: Final = 0.5  # of neighbouring pixels; a chequer-board has -1
# Averaged over a block of n pixels, independent noise keeps 1/n of its variance; of real photos
# at least 12/n are left.
_NOISE_LEFT: Final = 3.0

_SAMPLES: Final = 120  # rows or columns, whichever are fewer
_BLOCK: Final = 8  # samples
_FEWEST_BLOCKS: Final = 6  # on the shorter side


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Mean and standard deviation of a picture's blocks, in levels of 0 to 255."""

    brightness: float
    contrast: float


@dataclass(frozen=True, kw_only=True)
class _Statistics:
    """Levels of a picture: of its blocks (N,) ascending, and how pixels and blocks vary.

    The variances are (3,), of each colour. `block` is how many samples are averaged in one.
    `correlation` is that of the pixels with their neighbours, of the colour that varies most,
    right or below, whichever is further from 0.
    """

    levels: NDArray[np.float32]
    of_pixels: NDArray[np.float32]
    of_blocks: NDArray[np.float32]
    block: int
    correlation: float


def find_fault(image: Image) -> Fault | None:
    """Return why a picture (H, W, 3) uint8 BGR shows nothing to classify; None where it does.

    It is judged by every few pixels, averaged in blocks: noise of a sensor averages out, and what
    is left of the contrast is what there is to see. Noise in pictures whose shorter side is below
    30 pixels is not told from content.
    """
    found = _measure(image)
    if found.levels[len(found.levels) // 50] >= _SATURATED:
        return "blinded"
    level, loudness = found.levels.mean(), found.of_pixels.max()
    noise = found.of_pixels * (_NOISE_LEFT / found.block**2)
    is_noise = found.block > _BLOCK // 2 and (found.of_blocks <= noise).all()
    is_blank = found.of_blocks.max() < _NO_CONTRAST**2 or (is_noise and loudness >= _LOUD**2)
    is_texture = loudness >= _TEXTURE**2 and abs(found.correlation) >= _CORRELATED
    if not is_blank or (is_texture and level >= _DARK):
        return None
    if level < _BLACK:
        return "covered"
    if level >= _WHITE:
        return "blinded"
    return "noise" if loudness >= _LOUD**2 else "flat"


def measure_exposure(image: Image) -> Exposure:
    """Return how bright a picture (H, W, 3) uint8 BGR is, and how much its parts differ."""
    levels = _measure(image).levels
    return Exposure(brightness=float(levels.mean()), contrast=float(levels.std()))


def _measure(image: Image) -> _Statistics:
    step = max(1, min(image.shape[:2]) // _SAMPLES)
    samples = image[::step, ::step].transpose(2, 0, 1).astype(np.float32, order="C")
    block = min(_BLOCK, max(1, min(samples.shape[1:]) // _FEWEST_BLOCKS))
    rows, columns = (_averaging(size, block) for size in samples.shape[1:])
    blocks = rows @ samples @ columns.T
    variances = samples.var(axis=(1, 2))
    colour = int(variances.argmax())
    return _Statistics(
        levels=np.sort(blocks.mean(axis=0), axis=None),
        of_pixels=variances,
        of_blocks=blocks.var(axis=(1, 2)),
        block=block,
        correlation=_correlation(image[..., colour], samples[colour], step, variances[colour]),
    )


def _averaging(size: int, block: int) -> NDArray[np.float32]:
    """Return the matrix (blocks, size) that averages each whole block of samples."""
    count = size // block
    whole = np.repeat(np.eye(count, dtype=np.float32) / block, block, axis=1)
    return np.pad(whole, ((0, 0), (0, size - count * block)))


def _correlation(
    colour: Image, samples: NDArray[np.float32], step: int, variance: np.float32
) -> float:
    """Return the correlation of samples with the pixel to the right or below, the stronger one."""
    correlations = [0.0]
    for neighbours in (colour[::step, 1::step], colour[1::step, ::step]):
        if neighbours.size and variance > 0:
            rows, columns = neighbours.shape
            difference = samples[:rows, :columns] - neighbours
            correlations.append(1 - float(np.square(difference).mean() / (2 * variance)))
    return max(correlations, key=abs)
