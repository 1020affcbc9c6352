"""What travels in a bundle beside its networks: photos to check a device by, and a text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.runtime.image_files import list_images
from leansight.runtime.images import read_image
from leansight.runtime.preprocessing import Image
from leansight.sdk.data.images import images_folder, read_sample
from leansight.sdk.data.samples import Sample, draw

GOLDEN_PHOTOS: Final = 8


def read_golden(folder: Path | None, root: Path, samples: Sequence[Sample]) -> list[Image]:
    """Return up to `GOLDEN_PHOTOS` photos, (H, W, 3) uint8 BGR: of `folder`, else of `samples`.

    `root` is where the samples lie.

    Raises:
        DataError: the folder is not there or holds no image, or one of them cannot be read.

    """
    if folder is None:
        return [read_sample(images_folder(root), s) for s in draw(samples, GOLDEN_PHOTOS)]
    return [read_image(file) for file in draw(list_images([folder]), GOLDEN_PHOTOS)]


def read_notes(file: Path | None) -> dict[str, str]:
    """Return the text of `file` as it stands in a bundle's provenance; nothing without a file.

    Raises:
        DataError: the file is not there, or is not text in UTF-8.

    """
    if file is None:
        return {}
    try:
        return {"notes": file.read_text("utf-8").strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} is no text for the model card: {error}", parameter="card"
        ) from error
