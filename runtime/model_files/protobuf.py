"""Fields of a protobuf message, read from bytes: every length is checked before it is followed.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

_MOST_FIELDS: Final = 300_000  # of a file; a large network has some ten thousand
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS: Final = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT: Final = 10
_MORE: Final = 0x80  # the top bit of a byte says that another follows


class Budget:
    """How many fields may still be read of one file."""

    def __init__(self) -> None:
        self._left = _MOST_FIELDS

    def spend(self) -> None:
        """Count a field; ValueError if there are too many."""
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it has more than {_MOST_FIELDS:,} entries")


class Message:
    """A message's fields by their numbers; ValueError if it ends too early."""

    def __init__(self, data: memoryview, budget: Budget) -> None:
        self._budget = budget
        self._fields: defaultdict[int, list[int | memoryview]] = defaultdict(list)
        for number, value in _fields(data, budget):
            self._fields[number].append(value)

    def has(self, *numbers: int) -> bool:
        """Return whether the message has any of these fields."""
        return any(number in self._fields for number in numbers)

    def number(self, field: int, default: int = 0) -> int:
        """Return an integer field; the last one counts."""
        values = [value for value in self._fields.get(field, ()) if isinstance(value, int)]
        return values[-1] if values else default

    def text(self, field: int) -> str:
        """Return a text; the last one counts."""
        return (self.texts(field) or [""])[-1]

    def texts(self, field: int) -> list[str]:
        """Return all texts of a field."""
        return [str(value, "utf-8") for value in self.bytes_of(field)]

    def messages(self, field: int) -> "list[Message]":
        """Return all messages of a field."""
        return [Message(value, self._budget) for value in self.bytes_of(field)]

    def merged(self, field: int) -> "Message":
        """Return the one message of a field, as libraries put it together of several."""
        data = memoryview(b"".join(self.bytes_of(field)))
        return Message(data, self._budget)

    def bytes_of(self, field: int) -> list[memoryview]:
        """Return all values of a field of bytes."""
        return [value for value in self._fields.get(field, ()) if not isinstance(value, int)]

    def integers(self, field: int) -> list[int]:
        """Return all integers of a field, packed or not."""
        found: list[int] = []
        for value in self._fields.get(field, ()):
            if isinstance(value, int):
                found.append(value)
                continue
            at = 0
            while at < len(value):
                self._budget.spend()
                number, at = _varint(value, at)
                found.append(number)
        return found

    def floats(self, field: int) -> NDArray[np.float32]:
        """Return all float32 of a field, packed or not."""
        packed = b"".join(
            value.to_bytes(4, "little") if isinstance(value, int) else value
            for value in self._fields.get(field, ())
        )
        return np.frombuffer(packed, "<f4")


def _fields(data: memoryview, budget: Budget) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(data):
        budget.spend()
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            number, at = _varint(data, at)
            yield key >> 3, number
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in _WIDTHS:
            size = _WIDTHS[kind]
        else:
            raise ValueError("it is damaged: it has a field of no known kind")
        if at + size > len(data):
            raise ValueError("it is damaged: it ends too early")
        value = data[at : at + size]
        yield key >> 3, value if kind == _BYTES else int.from_bytes(value, "little")
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return an integer of 64 bits, and where the next field begins."""
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= len(data):
            raise ValueError("it is damaged: it ends too early")
        byte = data[at + place]
        value |= (byte & ~_MORE) << (7 * place)
        if not byte & _MORE:
            return value & ((1 << 64) - 1), at + place + 1
    raise ValueError("it is damaged: a number in it does not end")
