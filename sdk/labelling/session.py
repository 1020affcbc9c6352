"""Hard examples one by one, and the class folders that their labels make."""

import errno
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from leansight.runtime.errors import DataError
from leansight.runtime.stream.hard_example_folder import (
    PICTURES,
    doubt_in,
    read_record,
)
from leansight.runtime.system.whole_files import write_whole
from leansight.sdk.data.layouts.split_folders import part_of

# Beside the pictures: what shows none of the labels. It is no class folder, for `train` would
# learn it as one more class; who wants that moves it.
NONE_OF_THESE: Final = "none-of-these"
# Beside the pictures: what the bundle said of those that were labelled, and what people said.
RECORDS: Final = "records"
_MOST_CHOICES: Final = 9  # keys 1 to 9


@dataclass(frozen=True, kw_only=True)
class Example:
    """A picture to label: its file, how much in doubt it is (0 to 1), and labels for it.

    `top` are the labels and probabilities that the bundle gave, the likeliest first.
    """

    picture: Path
    doubt: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What was done with a picture: moved to a place, or, without one, skipped."""

    example: Example
    place: Path | None = None


class LabellingSession:
    """The hard examples of a folder, the biggest doubt first, and what was done with them.

    A label moves a picture, whole or not at all, to OUT/LABEL; a kill at any moment loses none.
    What was labelled is remembered until the session ends, and can be undone step by step.
    """

    def __init__(self, folder: Path, out: Path) -> None:
        """Find the pictures.

        Raises:
            DataError: it is no folder of hard examples, or of a bundle that gives many labels.

        """
        self.labels = _labels(folder)
        self.out = out
        self._folder = folder
        self._steps: list[_Step] = []
        _remove_leftovers(folder)
        self._waiting = _find_examples(folder)

    @property
    def current(self) -> Example | None:
        """The picture to label now, None when all are done; removed ones are passed over."""
        while self._waiting and not self._waiting[0].picture.exists():
            del self._waiting[0]
        return self._waiting[0] if self._waiting else None

    @property
    def left(self) -> int:
        """How many pictures are still to be labelled."""
        return len(self._waiting)

    @property
    def done(self) -> int:
        """How many pictures were labelled, put aside or skipped."""
        return len(self._steps)

    @property
    def choices(self) -> list[tuple[str, float | None]]:
        """Up to nine labels to choose from: the bundle's, then those that were given lately."""
        if self.current is None:
            return []
        top = dict(self.current.top)
        lately = dict.fromkeys(
            step.place.parent.name for step in reversed(self._steps) if step.place
        )
        others = (label for label in lately if label in self.labels and label not in top)
        return [*top.items(), *((label, None) for label in others)][:_MOST_CHOICES]

    @property
    def summary(self) -> str:
        """What was done and what is left, in one line."""
        places = [step.place for step in self._steps if step.place]
        none = sum(place.parent.name == NONE_OF_THESE for place in places)
        skipped = len(self._steps) - len(places)
        return (
            f"{len(places) - none:,} labelled in {self.out}, {none:,} none of these, "
            f"{skipped:,} skipped, {self.left:,} left"
        )

    def label(self, label: str | None) -> None:
        """Give the current picture a label of the bundle; None: it shows none of them.

        Raises:
            DataError: the label is not the bundle's, or no name for a folder.
            OSError: the picture cannot be moved.

        """
        example = self._require_current()
        if label is None:
            place = self._folder / NONE_OF_THESE
        else:
            if label not in self.labels:
                raise DataError(f"{label!r} is no label of the bundle")
            place = self.out / _folder_name(label)
        record = self._folder / RECORDS / f"{example.picture.stem}.json"
        values = {**read_record(example.picture), "labelled": label}
        place.mkdir(parents=True, exist_ok=True)
        record.parent.mkdir(exist_ok=True)
        write_whole(record, _json(values))
        target = move_whole(example.picture, place / example.picture.name)
        example.picture.with_suffix(".json").unlink(missing_ok=True)
        self._take(_Step(example=example, place=target))

    def skip(self) -> None:
        """Leave the current picture where it is, for another session."""
        self._take(_Step(example=self._require_current()))

    def undo(self) -> None:
        """Undo the last step, whose picture is then the current one.

        Raises:
            DataError: there is none, or its picture is no longer where it was put.

        """
        if not self._steps:
            raise DataError("there is nothing to undo")
        step = self._steps[-1]
        if step.place is not None:
            self._take_back(step.example.picture, step.place)
        self._waiting.insert(0, self._steps.pop().example)

    def _take_back(self, picture: Path, place: Path) -> None:
        if not place.exists():
            raise DataError(f"{place} is not there any more")
        record = self._folder / RECORDS / f"{picture.stem}.json"
        values = {name: value for name, value in read_record(record).items() if name != "labelled"}
        if values:
            write_whole(picture.with_suffix(".json"), _json(values))
        move_whole(place, picture)
        record.unlink(missing_ok=True)
        if not any(place.parent.iterdir()):
            place.parent.rmdir()  # an empty class folder is no class

    def _require_current(self) -> Example:
        if self.current is None:
            raise DataError("all pictures are done")
        return self.current

    def _take(self, step: _Step) -> None:
        self._steps.append(step)
        self._waiting.remove(step.example)


def move_whole(source: Path, target: Path) -> Path:
    """Move a file, to another file system too, and return its new path.

    At each moment it is whole at one of the two places. A file that is there is not overwritten:
    the name of the other then ends with a number.
    """
    target = _free(target)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        write_whole(target, source.read_bytes())
        source.unlink()
    return target


def _free(path: Path) -> Path:
    video, _, number = path.stem.rpartition("_")
    while path.exists():
        number = f"{int(number) + 1:0{len(number)}}" if number.isdigit() else f"{number}1"
        path = path.with_stem(f"{video}_{number}" if video else number)
    return path


def _folder_name(label: str) -> str:
    """Return the label; DataError if a folder of that name is not taken for a class."""
    if "/" in label or "\0" in label or label.startswith(".") or part_of(label):
        raise DataError(
            f"{label!r} cannot be the name of a class folder: skip the picture, and list it in a "
            "labels.csv"
        )
    return label


def _remove_leftovers(folder: Path) -> None:
    """Remove what a kill has left: the record of a picture that has moved, and that is labelled."""
    for record in folder.glob("*_*.json"):
        if (folder / RECORDS / record.name).exists() and not record.with_suffix(".jpg").exists():
            record.unlink(missing_ok=True)


def _find_examples(folder: Path) -> list[Example]:
    examples = [_example(picture) for picture in sorted(folder.glob(PICTURES))]
    return sorted(examples, key=lambda example: -example.doubt)


def _example(picture: Path) -> Example:
    record = read_record(picture)
    top = tuple((str(label), float(score)) for label, score in record.get("top", ()))
    return Example(picture=picture, doubt=doubt_in(record), top=top)


def _labels(folder: Path) -> tuple[str, ...]:
    """Return the labels of the bundles that pictures in the folder are of."""
    bundles = [read_record(file) for file in sorted(folder.glob("bundle-*.json"))]
    labels = tuple(dict.fromkeys(label for bundle in bundles for label in bundle.get("labels", ())))
    if not labels:
        raise DataError(f"{folder} is no folder of hard examples, as `leansight stream` makes one")
    if any(bundle.get("task") == "multilabel" for bundle in bundles):
        raise DataError(
            f"the pictures in {folder} are of a bundle that gives many labels, but a class folder "
            "is one label: write a labels.csv by hand"
        )
    return labels


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
