"""Keeps a copy of the bundle that has worked, for when the next one does not."""

import time
import zipfile
from pathlib import Path
from typing import Final

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError
from leansight.runtime.stream.classified_stream import StreamResult
from leansight.runtime.stream.isolated_classifier import IsolatedClassifier
from leansight.runtime.system.whole_files import whole_file

GOOD_AFTER_S: Final = 600.0


class LastGoodBundle:
    """Copies the bundle at work to a file once it has given predictions for ten minutes."""

    def __init__(self, file: Path, classifier: IsolatedClassifier) -> None:
        self.trouble = ""
        self._file = file
        self._classifier = classifier
        self._good_digest = _digest_of(file)
        self._digest = ""
        self._since_s = 0.0

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        if result.prediction is None:
            return
        bundle = self._classifier.bundle
        if bundle.digest != self._digest:
            self._digest, self._since_s = bundle.digest, time.monotonic()
        is_good = time.monotonic() - self._since_s >= GOOD_AFTER_S
        if is_good and bundle.digest != self._good_digest:
            self._good_digest = bundle.digest  # tried once: a full disk is not asked at each frame
            try:
                copy_bundle(bundle, self._file)
            except (OSError, BundleError) as error:
                self.trouble = f"the bundle that works cannot be copied to {self._file}: {error}"

    def close(self) -> None:
        """See `Output`."""


def copy_bundle(bundle: Bundle, file: Path) -> None:
    """Write a zip of the bundle, whole or not at all.

    Raises:
        OSError: it cannot be written.
        BundleError: the bundle was replaced or changed since it was loaded.

    """
    contents = bundle.contents()
    with whole_file(file) as part, zipfile.ZipFile(part, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)


def _digest_of(file: Path) -> str:
    """Return the digest of the bundle in a file, "" where there is none that can be read."""
    try:
        return Bundle.load(file).digest
    except BundleError:
        return ""
