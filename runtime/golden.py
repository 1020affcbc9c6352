"""Whether a bundle gives on this machine what it gave where it was made."""

import io
import json
import struct
import sys
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import probabilities_of
from leansight.runtime.errors import BundleError
from leansight.runtime.first_load import (
    MEMORY_BYTES,
    MEMORY_TIMES,
    PROCESSOR_S,
    READY,
    RUNS,
    require_runnable,
)
from leansight.runtime.interpreter import (
    Format,
    import_interpreter,
    load_interpreter,
    require_shape,
)
from leansight.runtime.system.archive import DAMAGED_ZIP, open_archive
from leansight.runtime.system.parent import end_with
from leansight.runtime.system.python_child import limit_this_process

GOLDEN = "golden.npz"
# What numpy and zipfile raise for a damaged file, and what other arrays than these lead to.
DAMAGED = (
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
    those that got or lost one that was more than `MAX_DIFFERENCE` from its threshold;
    `invalid_photos` counts photos of which the model says no finite numbers;
    `is_constant` is true where it says the same of all photos.
    """

    format: Format
    precision: str
    photos: int
    different_pixels: int
    largest_difference: float
    different_labels: int
    invalid_photos: int = 0
    is_constant: bool = False

    @property
    def holds(self) -> bool:
        """True if the preprocessing is exact and every photo gets its class and probability."""
        return (
            self.different_pixels == self.different_labels == self.invalid_photos == 0
            and not self.is_constant
            and self.largest_difference <= MAX_DIFFERENCE
        )


def check_golden(
    path: Path | str,
    *,
    model_format: Format | None = None,
    threads: int = 1,
    trust: Path | None = None,
) -> GoldenReport:
    """Run the golden photos of a bundle through preprocessing and one of its models.

    Raises:
        BundleError: the bundle is damaged, not trusted (see `Bundle.load`), lacks the format, or
            has no golden photos.
        MissingExtraError: the format's interpreter is not installed.

    """
    bundle = Bundle.load(path, trust=trust)
    if GOLDEN not in bundle.files:
        raise BundleError(f"{bundle.path} has no {GOLDEN}: there is nothing to check it by")
    chosen = bundle.choose_format(model_format)
    require_runnable(bundle, chosen)
    return _compare(bundle, chosen, threads=threads)


def main(parent: int, path: str, digest: str, model_format: Format) -> None:
    """Run the model of a bundle in the process that `require_runnable` starts for it."""
    if not end_with(parent):
        return
    limit_this_process(processor_s=PROCESSOR_S)
    bundle = Bundle.load(path)
    import_interpreter(model_format)
    height, width = 2 * bundle.preprocessing.height, 2 * bundle.preprocessing.width
    bundle.preprocessing(np.zeros((height, width, 3), np.uint8))
    _tell(READY)
    try:
        _run(bundle, model_format)
    except BundleError as error:
        _tell(str(error).replace(f"model.{model_format} of {bundle.path} ", "it "))
    else:
        _tell(RUNS if bundle.digest == digest else "the bundle was replaced while it was loaded")


def _run(bundle: Bundle, model_format: Format) -> None:
    """Load a model, and let it classify a black picture and the golden photos."""
    size_bytes = bundle.files[f"model.{model_format}"].size_bytes
    limit_this_process(more_bytes=MEMORY_BYTES + MEMORY_TIMES * size_bytes)
    black = np.zeros(bundle.preprocessing.shape, np.uint8)
    _logits(bundle, model_format, black)
    if GOLDEN in bundle.files and _has_photos(bundle):
        _compare(bundle, model_format)


def _has_photos(bundle: Bundle) -> bool:
    """Return whether photos travel with the bundle: that of a torch module may have none."""
    try:
        return any(name.startswith("photo_") for name in read_arrays(bundle.read(GOLDEN)))
    except DAMAGED:
        return True  # what is wrong is told by the comparison


def _tell(text: str) -> None:
    sys.stdout.write(json.dumps([text]) + "\n")
    sys.stdout.flush()


def _compare(bundle: Bundle, chosen: Format, *, threads: int = 1) -> GoldenReport:
    """Compare; BundleError if there are other photos and answers than of such a network."""
    try:
        return _report(bundle, chosen, read_arrays(bundle.read(GOLDEN)), threads)
    except BundleError:
        raise
    except DAMAGED as error:
        raise BundleError(
            f"{bundle.path / GOLDEN} does not hold golden photos, export the bundle again: "
            f"{type(error).__name__}: {error}"
        ) from error


def _report(
    bundle: Bundle, chosen: Format, golden: Mapping[str, NDArray[Any]], threads: int
) -> GoldenReport:
    photos = [golden[name] for name in sorted(golden) if name.startswith("photo_")]
    if not photos:
        raise BundleError(f"{bundle.path}: {GOLDEN} holds no photos")
    pixels = np.concatenate([bundle.preprocessing(photo) for photo in photos])
    logits = _logits(bundle, chosen, pixels, threads)
    recorded, expected = golden["pixels"], golden[f"logits_{chosen}"]
    if recorded.shape != pixels.shape or expected.shape != logits.shape:
        raise ValueError(f"pixels {recorded.shape} and logits {expected.shape} of another network")
    are_finite = np.isfinite(logits).all(axis=1)
    now, before = (
        probabilities_of(values[are_finite], bundle.task, bundle.decision.temperature)
        for values in (logits, expected)
    )
    return GoldenReport(
        format=chosen,
        precision=bundle.precision_text,
        photos=len(photos),
        different_pixels=int((pixels != recorded).sum()),
        largest_difference=float(np.abs(now - before).max(initial=0)),
        different_labels=int(_differ(now, before, bundle).sum()),
        invalid_photos=int((~are_finite).sum()),
        is_constant=_are_equal(logits) and not _are_equal(pixels),
    )


def _logits(
    bundle: Bundle, chosen: Format, pixels: NDArray[np.uint8], threads: int = 1
) -> NDArray[np.float32]:
    """Return the logits (N, K) of preprocessed pixels; BundleError if K labels are not there."""
    name = f"model.{chosen} of {bundle.path}"
    model = bundle.read(f"model.{chosen}")
    interpreter = load_interpreter(model, chosen, threads=threads, name=name)
    require_shape(interpreter, bundle.preprocessing.shape)
    logits = np.stack([interpreter(image[None]) for image in pixels])
    if logits.shape[1] != len(bundle.labels):
        raise BundleError(
            f"{name} gives {logits.shape[1]} logits, but there are "
            f"{len(bundle.labels)} labels: they do not belong together"
        )
    return logits


def _are_equal(values: NDArray[Any]) -> bool:
    return bool((values == values[0]).all())


def read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file; ValueError if they are far larger, or no arrays."""
    file = io.BytesIO(data)
    open_archive(file).close()
    with np.load(file, allow_pickle=False) as members:
        arrays = dict(members)
    # numpy returns the bytes of a member that does not begin as an array does.
    if wrong := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"{wrong[0]} is no array")
    return arrays


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
