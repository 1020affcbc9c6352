"""One folder a class, with frames of videos in it."""

import re
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.runtime.images import list_images
from leansight.sdk.data.samples import Sample

# S1's file names: `01165_00001` is frame 1 of video 01165. Both parts are digits, so that
# IMG_0001, IMG_0002 … are not taken for frames of one video. BelgiumTS may name the camera
# before the pole; one sign seen by two cameras is one sign.
_VIDEO_FRAME: Final = re.compile(r"(?P<video>\d+)_\d+")


def class_folders(root: Path) -> list[Sample]:
    """Return the images of ROOT/CLASS/IMAGE and ROOT/COUNTRY/CLASS/IMAGE."""
    samples = []
    for path in (p.relative_to(root) for p in list_images([root])):
        match path.parts:
            case (label, _):
                country = ""
            case (country, label, _):
                pass
            case _:
                raise DataError(
                    f"{root / path} is neither {root}/CLASS/IMAGE nor {root}/COUNTRY/CLASS/IMAGE"
                )
        video = video_of(path, _VIDEO_FRAME)
        samples.append(Sample(path=path, labels=(label,), country=country, video=video))
    if len({bool(s.country) for s in samples}) > 1:
        raise DataError(f"{root} mixes CLASS/IMAGE and COUNTRY/CLASS/IMAGE: keep to one of them")
    return samples


def video_of(path: Path, pattern: re.Pattern[str]) -> str:
    """Name the video, which is unique within a folder only."""
    frame = pattern.fullmatch(path.stem)
    return (path.parent / frame["video"]).as_posix() if frame else ""
