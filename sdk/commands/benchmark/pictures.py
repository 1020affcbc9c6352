"""The pictures that models are timed on, and what to say of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leansight.benchmarks.picture import synthetic_image, video_frames
from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed
from leansight.runtime.images import read_image
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.sources.secrets import without_secrets
from leansight.sdk.commands.benchmark.options import PictureOptions
from leansight.sdk.commands.options.images import choose_samples, require_images
from leansight.sdk.commands.options.modules import EVALUATION_MODULES

if TYPE_CHECKING:
    from leansight.sdk.data.samples import Sample


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What is classified; `labelled` images are judged as well. `description` goes on.

    `capture` is a video or a camera whose frames are captured in the pictures' place, "" for none.
    """

    images: list[Image]
    description: str
    labelled: "Sequence[Sample]" = ()
    capture: str = ""


def find_pictures(options: PictureOptions) -> Pictures:
    """Return what the options name.

    Raises:
        DataError: it is not there, or cannot be read.

    """
    labelled, capture = _labelled(options.data), ""
    if options.camera is not None:
        images, capture = [], options.camera
        description = f"of the camera {without_secrets(capture)}, captured one by one"
    elif (image := options.image) is not None:
        images, description = [read_image(image)], f"of {image.name}"
    elif (video := options.video) is not None:
        images, capture = video_frames(video), str(video)
        description = f"of the video {video.name}, captured one by one"
    elif options.data is not None:
        images, description = _of_labelled(options.data, labelled)
    else:
        images, description = [synthetic_image()], "of a generated picture"
    return Pictures(images=images, description=description, labelled=labelled, capture=capture)


def read_labels_of_bare(file: Path | None) -> tuple[str, ...]:
    """Return the labels in a file; none without it."""
    if file is None:
        return ()
    from leansight.sdk.data.class_names import read_labels

    return read_labels(file)


def _of_labelled(data: Path, samples: "Sequence[Sample]") -> tuple[list[Image], str]:
    from leansight.sdk.evaluation.timed_files import some_images

    images = some_images(data, samples)
    return images, f"of {len(images)} of the {len(samples):,} images in {data.name}"


def _labelled(data: Path | None) -> "Sequence[Sample]":
    """Return the images of --data with their labels; none without it."""
    if data is None:
        return []
    check_installed(*EVALUATION_MODULES, extra="evaluate")
    require_images(data)
    if data.is_file() and data.suffix.lower() in _VIDEOS:
        raise DataError(
            f"{data} is a video, which has no labels: time models on it with --video",
            parameter="data",
        )
    return choose_samples(data, lists=None, part=None, country="", videos=None)


_VIDEOS = frozenset({".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mjpeg", ".ts"})
