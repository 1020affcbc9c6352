"""Class names as they are compared: in one Unicode form, printable, and each spelled one way."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.sdk.data.samples import MIN_CLASSES, Sample
from leansight.sdk.system.text import first_five

# Unicode's general categories of what cannot be seen: control and format characters, bytes that
# are no UTF-8, characters that do not exist or are private, separators of lines and paragraphs.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
# Format characters that belong to the spelling of Persian, Indic languages and emoji.
_JOINERS: Final = frozenset("\u200c\u200d")


def normalise_name(name: str) -> str:
    """Return a class name in Unicode's form NFC, without white space around it."""
    return unicodedata.normalize("NFC", name).strip()


def read_labels(file: Path) -> tuple[str, ...]:
    """Return the labels in a file, one a line; DataError if one is empty or there twice.

    Numbers from 0 before them, as in Teachable Machine's labels.txt, are left out.
    """
    if not file.is_file():
        raise DataError(
            f"{file} is no file: the labels are expected there, one a line", parameter="labels"
        )
    try:
        lines = file.read_text("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not text in UTF-8: one label a line is expected") from error
    labels = tuple(map(normalise_name, _without_numbers(lines)))
    for line, label in enumerate(labels, 1):
        if not label or label in labels[: line - 1]:
            what = f"{label} again" if label else "empty"
            raise DataError(f"{file} line {line} is {what}: one label a line is expected")
    if len(labels) < MIN_CLASSES:
        raise DataError(f"{file} has {len(labels)} labels: two or more are expected, one a line")
    return labels


def _without_numbers(lines: Sequence[str]) -> Sequence[str]:
    parts = [line.partition(" ") for line in lines]
    numbered = [number for number, _, name in parts if name.strip()]
    return [name for *_, name in parts] if numbered == [*map(str, range(len(lines)))] else lines


def normalise_labels(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples with normalised class names.

    Raises:
        DataError: a name is empty or cannot be printed, or two names differ only in capitals,
            white space or the form of a character; a file of each is named.

    """
    first: dict[str, Path] = {}
    for sample in samples:
        for label in sample.labels:
            first.setdefault(label, sample.path)
    names = {raw: normalise_name(raw) for raw in first}
    for raw, name in names.items():
        _require_printable(raw, name, first[raw])
    _require_one_spelling(first)
    return [replace(s, labels=tuple(names[label] for label in s.labels)) for s in samples]


def _require_printable(raw: str, name: str, path: Path) -> None:
    hidden = [c for c in name if unicodedata.category(c) in _INVISIBLE and c not in _JOINERS]
    if hidden or not name:
        what = f"has {', '.join(f'U+{ord(c):04X}' for c in hidden[:3])}" if hidden else "is empty"
        raise DataError(
            f"the class name {raw!a} {what}, which cannot be printed "
            f"({str(path)!a}): rename the class"
        )


def _require_one_spelling(first: dict[str, Path]) -> None:
    """Raise DataError for names that people take for the same; `first`: a file of each."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for raw in sorted(first):
        spellings[_key(raw)].append(raw)
    clashes = [names for names in spellings.values() if len(names) > 1]
    if clashes:
        named = first_five(
            " and ".join(f"{_shown(raw, names)} ({first[raw]})" for raw in names)
            for names in clashes
        )
        raise DataError(f"two spellings of one class name: {named}: keep one of them")


def _key(name: str) -> str:
    """Return what is the same for all spellings of a name.

    Single letters are told apart by their case: a data set of handwriting has A and a.
    """
    text = " ".join(unicodedata.normalize("NFKC", name).split())
    return text.casefold() if len(text) > 1 else text


def _shown(raw: str, names: Sequence[str]) -> str:
    """Return a name in quotes, with its code points where it looks like another of `names`."""
    alike = [other for other in names if other != raw and _looks(other) == _looks(raw)]
    return ascii(raw) if alike else repr(raw)


def _looks(name: str) -> str:
    return unicodedata.normalize("NFC", name)
