"""One folder a class, with frames of videos in it, in splits and countries or in neither."""

from collections.abc import Sequence
from pathlib import Path

from leansight.runtime.errors import DataError
from leansight.runtime.image_files import FoundFiles, find_image_files, no_images
from leansight.sdk.data.layouts.split_folders import (
    part_of,
    refuse_splits_as_classes,
    split_level,
)
from leansight.sdk.data.layouts.videos import VideoNames
from leansight.sdk.data.samples import Sample


def class_folders(root: Path, videos: VideoNames) -> tuple[list[Sample], FoundFiles]:
    """Return the images of ROOT/CLASS/IMAGE and ROOT/COUNTRY/CLASS/IMAGE, and what was left out.

    Around, between or inside of these may be folders of splits: train, valid or val, test.
    """
    found = find_image_files(root)
    if not found.images:
        raise no_images(root, found)
    paths = [path.relative_to(root) for path in found.images]
    level = split_level(root, (path.parts[:-1] for path in paths), below=1)
    samples = [_sample(root, path, level, videos) for path in paths]
    without = sorted(str(s.path) for s in samples if not s.country)
    if without and len(without) < len(samples):
        within = next(str(s.path) for s in samples if s.country)
        raise DataError(
            f"{root} mixes CLASS/IMAGE and COUNTRY/CLASS/IMAGE ({without[0]} and {within}): keep "
            "to one of them"
        )
    if level is None:
        refuse_splits_as_classes(root, samples)
    return samples, found


def describe_folders(samples: Sequence[Sample]) -> str:
    """Return how the folders of images are laid out: SPLIT/COUNTRY/CLASS/IMAGE."""
    sample = samples[0]
    names = ["COUNTRY", "CLASS"] if sample.country else ["CLASS"]
    if sample.part:
        level = next(i for i, name in enumerate(sample.path.parts) if part_of(name))
        names.insert(level, "SPLIT")
    return "/".join([*names, "IMAGE"])


def _sample(root: Path, path: Path, level: int | None, videos: VideoNames) -> Sample:
    folders = list(path.parts[:-1])
    part = part_of(folders.pop(level)) if level is not None else ""
    match folders:
        case [label]:
            country = ""
        case [country, label]:
            pass
        case _:
            raise DataError(
                f"{root / path} is neither {root}/CLASS/IMAGE nor {root}/COUNTRY/CLASS/IMAGE: "
                "put each image into a folder named after its class"
            )
    video = videos.of(Path(*folders, path.name))
    return Sample(path=path, labels=(label,), country=country, video=video, part=part)
