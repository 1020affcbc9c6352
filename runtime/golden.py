"""Whether a bundle gives on this machine what it gave where it was made."""

import io
import struct
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.archive import DAMAGED_ZIP, open_archive
from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import probabilities_of
from leansight.runtime.errors import BundleError
from leansight.runtime.interpreter import Format, load_interpreter, require_shape

GOLDEN = "golden.npz"
# What numpy and zipfile raise for a damaged file, and what other arrays than these lead to.
_DAMAGED = (
    *DAMAGED_ZIP,
    KeyError,
    TypeError,
    IndexError,
    RecursionError,
    MemoryError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
)
# Kernels of different processors round differently by one step or two of the int8 output.
MAX_DIFFERENCE = 0.02


@dataclass(frozen=True, kw_only=True)
class GoldenReport:
    """How the golden photos of a bundle came out in one format.

    `precision` is what the bundle calls it ("int8, 3 layers float32");
    `different_pixels` counts preprocessed pixels that are not the recorded ones (expected: 0);
    `largest_difference` is the largest change of a probability, from 0 to 1;
    `different_labels` counts photos with another best class, or with many labels an image,
    those that got or lost one that was more than `MAX_DIFFERENCE` from its threshold.
    """

    format: Format
    precision: str
    photos: int
    different_pixels: int
    largest_difference: float
    different_labels: int

    @property
    def holds(self) -> bool:
        """True if the preprocessing is exact and every photo gets its class and probability."""
        return (
            self.different_pixels == 0
            and self.different_labels == 0
            and self.largest_difference <= MAX_DIFFERENCE
        )


def check_golden(
    path: Path | str, *, model_format: Format | None = None, threads: int = 1
) -> GoldenReport:
    """Run the golden photos of a bundle through preprocessing and one of its models.

    Raises:
        BundleError: the bundle is damaged, lacks the format, or has no golden photos.
        MissingExtraError: the format's interpreter is not installed.

    """
    bundle = Bundle.load(path)
    if GOLDEN not in bundle.files:
        raise BundleError(f"{bundle.path} has no {GOLDEN}: there is nothing to check it by")
    try:
        return _compare(bundle, bundle.choose_format(model_format), threads=threads)
    except BundleError:
        raise
    except _DAMAGED as error:
        raise BundleError(
            f"{bundle.path / GOLDEN} does not hold golden photos, export the bundle again: "
            f"{type(error).__name__}: {error}"
        ) from error


def _compare(bundle: Bundle, chosen: Format, *, threads: int) -> GoldenReport:
    golden = _arrays(bundle.read(GOLDEN))
    photos = [golden[name] for name in sorted(golden) if name.startswith("photo_")]
    if not photos:
        raise BundleError(f"{bundle.path}: {GOLDEN} holds no photos")
    name = f"model.{chosen} of {bundle.path}"
    model = bundle.read(f"model.{chosen}")
    interpreter = load_interpreter(model, chosen, threads=threads, name=name)
    require_shape(interpreter, bundle.preprocessing.shape)
    pixels = np.concatenate([bundle.preprocessing(photo) for photo in photos])
    logits = np.stack([interpreter(image[None]) for image in pixels])
    recorded, expected = golden["pixels"], golden[f"logits_{chosen}"]
    if recorded.shape != pixels.shape or expected.shape != (len(photos), len(bundle.labels)):
        raise ValueError(f"pixels {recorded.shape} and logits {expected.shape} of another network")
    if logits.shape != expected.shape:
        raise BundleError(
            f"{name} gives {logits.shape[1]} logits, but there are "
            f"{len(bundle.labels)} labels: they do not belong together"
        )
    now, before = (
        probabilities_of(values, bundle.task, bundle.decision.temperature)
        for values in (logits, expected)
    )
    return GoldenReport(
        format=chosen,
        precision=bundle.precision_text,
        photos=len(photos),
        different_pixels=int((pixels != recorded).sum()),
        largest_difference=float(np.abs(now - before).max()),
        different_labels=int(_differ(now, before, bundle).sum()),
    )


def _arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file; ValueError if they are far larger than the file."""
    file = io.BytesIO(data)
    open_archive(file).close()
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _differ(
    now: NDArray[np.float64], before: NDArray[np.float64], bundle: Bundle
) -> NDArray[np.bool_]:
    """Return for probabilities (N, K) which photos have other labels than before."""
    if bundle.task == "classification":
        others: NDArray[np.bool_] = now.argmax(axis=1) != before.argmax(axis=1)
        return others
    thresholds = bundle.decision.thresholds_of(bundle.labels)
    clear = np.abs(before - thresholds) > MAX_DIFFERENCE
    crossed = (now >= thresholds) != (before >= thresholds)
    changed: NDArray[np.bool_] = (clear & crossed).any(axis=1)
    return changed
