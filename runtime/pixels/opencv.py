"""The types of what is used of OpenCV, whose module is imported at its first use."""

from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.float32])


class ClaheFilter(Protocol):
    """Contrast-limited adaptive histogram equalisation."""

    def apply(self, src: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an equalised copy of (H, W)."""


class Cv2(Protocol):
    """The module `cv2`, for uint8 images (H, W) or (H, W, C); what is not here has no types."""

    def cvtColor(self, src: NDArray[np.uint8], code: int) -> NDArray[np.uint8]:
        """Return the image in another colour space."""

    def resize(self, src: Pixels, dsize: tuple[int, int], *, interpolation: int) -> Pixels:
        """Return the image of (width, height)."""

    def imdecode(self, buf: NDArray[np.uint8], flags: int) -> NDArray[np.uint8] | None:
        """Return the image in a file's bytes, or None."""

    def createCLAHE(self, clipLimit: float, tileGridSize: tuple[int, int]) -> ClaheFilter:
        """Return a filter for gray images."""

    def sepFilter2D(
        self,
        src: NDArray[np.uint8],
        ddepth: int,
        kernelX: NDArray[np.float32],
        kernelY: NDArray[np.float32],
        *,
        borderType: int,
    ) -> NDArray[np.float32]:
        """Return the image filtered along its rows, then along its columns, as CV_32F."""

    def __getattr__(self, name: str) -> Any:
        """Everything else."""
