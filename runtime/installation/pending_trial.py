"""The record of a trial that nobody has decided yet: it outlives whoever watches the trial.

    signs/trial.json    {"version": 12, "period_s": 60.0, "starts": 0}

It is written before the link is switched, and removed by whoever decides.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Self

from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import part_name, sync, write_whole

RECORD: Final = "trial.json"
LONGEST_TRIAL_S: Final = 3600.0
_MOST: Final = 10**9  # versions, starts


@dataclass(frozen=True, kw_only=True)
class PendingTrial:
    """A trial of a version: how long it lasts, and how often a stream has begun it."""

    version: int
    period_s: float
    starts: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("version", self.version, 1), ("starts", self.starts, 0)):
            if type(value) is not int or not least <= value <= _MOST:
                raise ValueError(f"{name} must be a whole number from {least} on, not {value!r}")
        seconds = self.period_s
        if type(seconds) not in (int, float) or not 0 < seconds <= LONGEST_TRIAL_S:
            raise ValueError(f"period_s must be above 0, up to {LONGEST_TRIAL_S:g}: {seconds!r}")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Return the record in an installation's folder, None where there is none.

        Raises:
            DataError: it is damaged.
            OSError: it cannot be read.

        """
        file = folder / RECORD
        try:
            values = json.loads(file.read_bytes())
            # A key that is unknown could be of any length, and of several lines.
            known = values if set(values) <= {one.name for one in fields(cls)} else {}
            return cls(**known)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(f"{file} is damaged: {error}. Remove it") from error

    def save(self, folder: Path) -> None:
        """Write the record; it is on the disk then."""
        _part_of(folder).unlink(missing_ok=True)  # of a killed process, perhaps another user's
        write_whole(folder / RECORD, json.dumps(asdict(self)).encode())


def remove_pending_trial(folder: Path) -> None:
    """Remove the record, if there is one; it is gone from the disk then."""
    _part_of(folder).unlink(missing_ok=True)
    if (folder / RECORD).exists():
        (folder / RECORD).unlink()
        sync(folder)


def _part_of(folder: Path) -> Path:
    return folder / part_name(RECORD)
