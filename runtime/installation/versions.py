"""Versions of a bundle in a folder, and the one link that says which is at work.

    signs/current -> versions/12/bundle     what `leansight stream signs/current` reads
    signs/versions/12/bundle/               a bundle
    signs/versions/12/installed.json        its number's history: {"previous": 11}
    signs/trial.json                        while nobody has decided whether it stays

A version is written whole and tried before the link is switched, by one rename. So there is always
either the old or the new one at work.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError, DataError
from leansight.runtime.golden import check_golden
from leansight.runtime.installation.pending_trial import PendingTrial, remove_pending_trial
from leansight.runtime.system.links import alone_in, make_folder, switch_link
from leansight.runtime.system.whole_files import whole_folder

CURRENT: Final = "current"
_VERSIONS: Final = "versions"
_BUNDLE: Final = "bundle"
_HISTORY: Final = "installed.json"
KEPT: Final = 3  # versions: the one at work, and those before it


@dataclass(frozen=True, kw_only=True)
class Version:
    """An installed bundle; `previous` is the number of the one that was at work before, or None."""

    number: int
    previous: int | None
    bundle: Bundle


class InstallationInUseError(DataError):
    """Another process installs a version, or decides a trial."""


class Installation:
    """A folder in which versions of a bundle are installed."""

    def __init__(self, folder: Path) -> None:
        """Take a folder, which need not be there yet."""
        self.folder = folder
        self.link = folder / CURRENT

    @classmethod
    def of_link(cls, path: Path) -> Self | None:
        """Return the installation whose link to the version at work it is, None for other paths."""
        is_ours = path.name == CURRENT and path.is_symlink()
        return cls(path.parent) if is_ours and (path.parent / _VERSIONS).is_dir() else None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else install while the `with` lasts; the folder is made.

        Raises:
            InstallationInUseError: another process is installing there.

        """
        make_folder(self.folder)
        try:
            with alone_in(self.folder):
                yield
        except BlockingIOError as error:
            raise InstallationInUseError(
                f"{self.folder} is in use: another process installs there, or decides a trial"
            ) from error

    def current(self) -> Version | None:
        """Return the version at work, None where there is none.

        Raises:
            BundleError: it is damaged.

        """
        number = self.current_number()
        return None if number is None else self._version(number)

    def current_number(self) -> int | None:
        """Return the number of the version at work, None where there is none."""
        try:
            return int(self.link.readlink().parent.name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DataError(f"{self.link} is no link that leansight has made") from error

    def pending_trial(self) -> PendingTrial | None:
        """Return the trial of the version at work, None where it is decided, or there was none.

        Raises:
            DataError: its record is damaged.

        """
        trial = PendingTrial.load(self.folder)
        return trial if trial and trial.version == self.current_number() else None

    def end_trial(self) -> None:
        """Let the version at work stay."""
        remove_pending_trial(self.folder)

    def install(self, bundle: Bundle, *, keep: int = KEPT, trial_s: float = 0.0) -> Version:
        """Put a copy of a bundle to work, if its golden photos come out here as they were made.

        The version at work stays if that is not so, or if anything fails. `keep` versions stay on
        the disk: this one, and those that were at work before it. With `trial_s` it is on trial
        then, until `end_trial` or `roll_back`, also after a power cut. One that was itself on trial
        is no version to go back to, if there is another.

        Raises:
            BundleError: the bundle is damaged, or does not give here what it gave.
            OSError: it cannot be written.

        """
        current = self.current_number()
        if current is not None and self._digest_of(current) == bundle.digest:
            return self._version(current)
        before = self._proven(current)
        self._remove_old(before, keep - 1)
        number = max(self._numbers(), default=0) + 1
        self._write(number, before, bundle)
        try:
            self._check(number)
        except BundleError:
            shutil.rmtree(self._folder_of(number))
            raise
        # Before the switch: a record that a kill left may be of a version that had this number.
        if trial_s:
            PendingTrial(version=number, period_s=trial_s).save(self.folder)
        else:
            remove_pending_trial(self.folder)
        self._switch_to(number)
        return self._version(number)

    def roll_back(self) -> Version:
        """Put to work again what was at work before the current version.

        Raises:
            BundleError: there is no such version, or it is damaged.
            OSError: it cannot be written.

        """
        current = self.current_number()
        previous = None if current is None else self._previous_of(current)
        if previous is None or not self._is_there(previous):
            raise BundleError(f"{self.folder} keeps no version before the one at work")
        self._check(previous)
        self._switch_to(previous)
        remove_pending_trial(self.folder)
        return self._version(previous)

    def _write(self, number: int, previous: int | None, bundle: Bundle) -> None:
        """Write a version whole, from files that are checked as they are read."""
        make_folder(self.folder / _VERSIONS)
        contents = bundle.contents()
        with whole_folder(self._folder_of(number)) as part:
            (part / _BUNDLE).mkdir()
            for name, data in contents.items():
                (part / _BUNDLE / name).write_bytes(data)
            (part / _HISTORY).write_text(json.dumps({"previous": previous}))

    def _check(self, number: int) -> None:
        """Raise BundleError unless the golden photos of a version come out as they were made."""
        path = self._folder_of(number) / _BUNDLE
        report = check_golden(path)
        if not report.holds:
            raise BundleError(
                f"{path} is not put to work: it does not give here what it gave where it was made "
                f"({report.different_pixels} different pixels, {report.different_labels} different "
                f"labels, probabilities within {report.largest_difference:.4f})"
            )

    def _switch_to(self, number: int) -> None:
        switch_link(self.link, f"{_VERSIONS}/{number}/{_BUNDLE}")

    def _proven(self, current: int | None) -> int | None:
        """Return the version at work, or the one before if nobody has decided for it yet."""
        if current is None or self.pending_trial() is None:
            return current
        previous = self._previous_of(current)
        return previous if previous is not None and self._is_there(previous) else current

    def _remove_old(self, newest: int | None, keep: int) -> None:
        """Remove all but so many, the newest and those to which it leads back, and the current."""
        kept = [newest]
        while len(kept) < keep and kept[-1] is not None and self._is_there(kept[-1]):
            kept.append(self._previous_of(kept[-1]))
        for number in set(self._numbers()) - {*kept, self.current_number()}:
            shutil.rmtree(self._folder_of(number))

    def _version(self, number: int) -> Version:
        bundle = Bundle.load(self._folder_of(number) / _BUNDLE)
        return Version(number=number, previous=self._previous_of(number), bundle=bundle)

    def _previous_of(self, number: int) -> int | None:
        file = self._folder_of(number) / _HISTORY
        try:
            previous = json.loads(file.read_text())["previous"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file} is damaged: {error}. Remove it with its folder") from error
        return previous if isinstance(previous, int) else None

    def _digest_of(self, number: int) -> str:
        try:
            return self._version(number).bundle.digest
        except BundleError:  # what is damaged is installed anew
            return ""

    def _numbers(self) -> list[int]:
        folder = self.folder / _VERSIONS
        return [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]

    def _is_there(self, number: int) -> bool:
        return self._folder_of(number).is_dir()

    def _folder_of(self, number: int) -> Path:
        return self.folder / _VERSIONS / str(number)
