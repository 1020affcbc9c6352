"""Find the image files in a folder by their content, and say what is left out."""

import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.runtime.extras import opencv
from leansight.runtime.image_formats import HEAD_BYTES, format_of

# A file of such a name is meant to be an image: if its content is none, it is damaged.
SUFFIXES: Final = frozenset(
    {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
# TIFF by their first bytes, but the pixels are a sensor's.
_RAW_SUFFIXES: Final = frozenset(
    {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"}
)
_UNREAD_SUFFIXES: Final = frozenset({".exr", ".hdr", ".ico", ".jxl", ".psd", ".svg", ".tga"})
# Beside names that begin with a dot: what Windows, macOS and storage servers leave in folders.
_SYSTEM_NAMES: Final = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "desktop.ini", "ehthumbs.db", "lost+found", "thumbs.db"}
)

HIDDEN: Final = "hidden or system files (such as .DS_Store, __MACOSX, Thumbs.db)"
NO_IMAGE: Final = "files that are no images"
NO_FILE: Final = "broken links, or neither files nor folders"
LOOP: Final = "linked folders that lead back to a folder above them"
EMPTY: Final = "folders without images"
HEIC: Final = "HEIC images (to read them: pip install 'leansight[heif]')"
AVIF: Final = "AVIF images (to read them: pip install -U opencv-python-headless)"
RAW: Final = "camera raw files (save them as JPEG or PNG)"
UNREAD: Final = "images of formats that are not read (save them as JPEG or PNG)"


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """The images below a folder, sorted, and the paths that were left out, by reason."""

    images: tuple[Path, ...]
    left_out: Mapping[str, tuple[Path, ...]]

    def describe_left_out(self, root: Path) -> list[str]:
        """Return for each reason how many paths there are, and the first one, below `root`."""
        left_out = self.left_out.items()
        return [f"{why}: {len(paths)} ({paths[0].relative_to(root)})" for why, paths in left_out]


def find_image_files(root: Path) -> FoundFiles:
    """Return the images anywhere below `root`: known by content, or at least by a suffix.

    Names that begin with a dot, and those of system files, are left out with all that is below.
    Linked files and folders are followed; a link to a folder above itself is left out.

    Raises:
        DataError: a folder cannot be opened.

    """
    images: list[Path] = []
    left_out: dict[str, list[Path]] = defaultdict(list)
    folders = [(root, frozenset({_identity(root)}))]
    while folders:
        folder, above = folders.pop()
        empty = True
        for path in _entries(folder):
            reason = _reason_to_leave_out(path, above)
            if reason is not None:
                left_out[reason].append(path)
                continue
            empty = False
            if path.is_dir():
                folders.append((path, above | {_identity(path)}))
            else:
                images.append(path)
        if empty and folder != root:
            left_out[EMPTY].append(folder)
    return FoundFiles(
        images=tuple(sorted(images)),
        left_out={reason: tuple(sorted(paths)) for reason, paths in sorted(left_out.items())},
    )


def list_images(paths: Iterable[Path]) -> list[Path]:
    """Return the given files, and the image files anywhere below the given folders, sorted.

    Raises:
        DataError: a path does not exist, or a folder holds no image.

    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist")
        if not path.is_dir():
            found.append(path)
            continue
        inside = find_image_files(path)
        if not inside.images:
            raise no_images(path, inside)
        found.extend(inside.images)
    return found


def no_images(folder: Path, found: FoundFiles) -> DataError:
    """Return the error of a folder without images, with what was left out of it."""
    reasons = "; ".join(found.describe_left_out(folder))
    left_out = f" (left out: {reasons})" if reasons else ""
    return DataError(f"{folder} holds no image{left_out}")


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be opened: {error.strerror}") from error


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _reason_to_leave_out(path: Path, above: frozenset[tuple[int, int]]) -> str | None:
    """Return why a path is neither an image nor a folder to look into; None if it is."""
    if path.name.startswith(".") or path.name.casefold() in _SYSTEM_NAMES:
        return HIDDEN
    if path.is_dir():
        return LOOP if path.is_symlink() and _identity(path) in above else None
    return _reason_for_file(path) if path.is_file() else NO_FILE


def _reason_for_file(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in _RAW_SUFFIXES:
        return RAW
    try:
        with path.open("rb") as file:
            kind = format_of(file.read(HEAD_BYTES))
    except OSError:
        return None  # read as an image, it is named with what is the matter
    reason = None
    if kind == "heic" and not importlib.util.find_spec("pillow_heif"):
        reason = HEIC
    elif kind == "avif" and not _reads_avif():
        reason = AVIF
    elif kind is None and suffix not in SUFFIXES:
        reason = UNREAD if suffix in _UNREAD_SUFFIXES else NO_IMAGE
    return reason


@cache
def _reads_avif() -> bool:
    """Tell whether this OpenCV was built with AVIF."""
    return re.search(r"AVIF:\s+(?!NO\b)\S", opencv().getBuildInformation()) is not None
