"""The folder of hard examples: pictures with their scores, bounded in size and in age."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from leansight.runtime.system.whole_files import write_whole

_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S
PICTURES: Final = "*_*.jpg"
# After the clock was set wrongly nearly everything looks old: not all of it goes at once.
_OLD_AT_ONCE: Final = 2


@dataclass(frozen=True, kw_only=True)
class _Stored:
    doubt: float
    size_bytes: int


class HardExampleFolder:
    """Holds pictures with a JSON beside each, at most so many bytes and so many days.

    A name is HOUR_MILLISECONDS: the hours since 1970, and the milliseconds since the last of them.
    So the pictures of one hour count as frames of one video, and no split parts them.
    """

    def __init__(self, path: Path, *, most_bytes: int, most_days: float) -> None:
        """Read what is there; remove what a kill has left half-written."""
        self._path = path
        self._most_bytes = most_bytes
        self._most_s = most_days * _DAY_S
        for part in path.glob(".*.part"):
            part.unlink(missing_ok=True)
        for record in path.glob("*_*.json"):
            if not record.with_suffix(".jpg").exists():
                record.unlink(missing_ok=True)
        self._stored = {picture.stem: _stored(picture) for picture in path.glob(PICTURES)}
        self._remove_least(0, float("inf"))

    @property
    def size_bytes(self) -> int:
        """How much is stored."""
        return sum(stored.size_bytes for stored in self._stored.values())

    def add(self, jpeg: bytes, record: dict[str, Any], *, doubt: float, time_s: float) -> bool:
        """Store a picture with its record, and remove what is too much or too old.

        Of too much that with the least doubt goes first; False: that was the new one.

        Raises:
            OSError: nothing can be written.

        """
        text = (json.dumps({**record, "doubt": round(doubt, 4)}, indent=2) + "\n").encode()
        self._remove_old(time_s)
        if not self._remove_least(len(jpeg) + len(text), doubt):
            return False
        picture = self._new_path(time_s)
        try:
            write_whole(picture.with_suffix(".json"), text)
            write_whole(picture, jpeg)
        except OSError:
            picture.with_suffix(".json").unlink(missing_ok=True)
            raise
        self._stored[picture.stem] = _Stored(doubt=doubt, size_bytes=len(jpeg) + len(text))
        return True

    def _new_path(self, time_s: float) -> Path:
        milliseconds = int(time_s * 1000)
        while True:
            hour, rest = divmod(milliseconds, _HOUR_S * 1000)
            path = self._path / f"{hour}_{rest:07d}.jpg"
            if not path.exists():
                return path
            milliseconds += 1

    def _remove_old(self, now_s: float) -> None:
        old = sorted(stem for stem in self._stored if now_s - _time_of(stem) > self._most_s)
        for stem in old[:_OLD_AT_ONCE]:
            self._remove(stem)

    def _remove_least(self, more_bytes: int, doubt: float) -> bool:
        """Make room for so many bytes among what is less in doubt; False if there is too little."""
        excess = self.size_bytes + more_bytes - self._most_bytes
        if excess <= 0:
            return True
        self._forget_absent()
        excess = self.size_bytes + more_bytes - self._most_bytes
        for stem, stored in sorted(self._stored.items(), key=lambda item: (item[1].doubt, item[0])):
            if excess <= 0 or stored.doubt > doubt:
                break
            self._remove(stem)
            excess -= stored.size_bytes
        return excess <= 0

    def _forget_absent(self) -> None:
        """Forget pictures that somebody has labelled, or removed."""
        present = {picture.stem for picture in self._path.glob(PICTURES)}
        self._stored = {stem: kind for stem, kind in self._stored.items() if stem in present}

    def _remove(self, stem: str) -> None:
        (self._path / f"{stem}.jpg").unlink(missing_ok=True)
        (self._path / f"{stem}.json").unlink(missing_ok=True)
        del self._stored[stem]


def read_record(path: Path) -> dict[str, Any]:
    """Return the record of a picture, by either's path; none, or a damaged one, is empty."""
    try:
        record = json.loads(path.with_suffix(".json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def doubt_in(record: dict[str, Any]) -> float:
    """Return the doubt that a record tells; of one that tells none, the largest."""
    doubt = record.get("doubt")
    return float(doubt) if isinstance(doubt, int | float) else 1.0


def _stored(picture: Path) -> _Stored:
    record = picture.with_suffix(".json")
    size = picture.stat().st_size + (record.stat().st_size if record.exists() else 0)
    return _Stored(doubt=doubt_in(read_record(picture)), size_bytes=size)


def _time_of(stem: str) -> float:
    """Return when the picture was taken; one of another name is never too old."""
    hour, _, milliseconds = stem.partition("_")
    if not (hour.isdigit() and milliseconds.isdigit()):
        return time.time()
    return int(hour) * _HOUR_S + int(milliseconds) / 1000
