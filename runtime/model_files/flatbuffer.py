"""Tables of a FlatBuffer, read from bytes: every offset is checked before it is followed.

The libraries for it check nothing: a wrong offset reads what lies elsewhere, or crashes.
Source: https://flatbuffers.dev/internals/
"""

import struct
from collections.abc import Iterator
from typing import Any, Final, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

_MOST_ITEMS: Final = 100_000  # tables of a vector; a large network has some thousands
_UINT32: Final = struct.Struct("<I")
_INT32: Final = struct.Struct("<i")
_UINT16: Final = struct.Struct("<H")


class Table:
    """A table of a FlatBuffer; its fields are numbered from 0, as the schema has them.

    All that is read raises ValueError where it is not inside the file.
    """

    def __init__(self, data: bytes, at: int) -> None:
        """Take the table that begins at a byte."""
        self._data, self._at = data, at
        self._fields = at - _unpack(_INT32, data, at)
        length = _unpack(_UINT16, data, self._fields)
        self._size = _unpack(_UINT16, data, self._fields + 2)
        self._count = length // 2 - 2
        _require_inside(data, self._fields, length)
        _require_inside(data, at, self._size)

    @classmethod
    def root(cls, data: bytes, identifier: bytes) -> Self:
        """Return the first table of a file; ValueError if it is not of that kind."""
        if data[4:8] != identifier:
            raise ValueError(f"it does not begin as {identifier.decode()} files do")
        return cls(data, _unpack(_UINT32, data, 0))

    def number(self, field: int, kind: str = "I", default: int = 0) -> int:
        """Return an integer field, of a type that `struct` names."""
        at = self._at_field(field, struct.calcsize(kind))
        return default if at is None else int(_unpack(struct.Struct(f"<{kind}"), self._data, at))

    def table(self, field: int) -> "Table | None":
        """Return a field that is a table, None if it is not set."""
        at = self._target(field)
        return None if at is None else Table(self._data, at)

    def tables(self, field: int) -> "Iterator[Table]":
        """Yield the tables of a field that is a vector of them."""
        start, count = self._vector(field, 4)
        if count > _MOST_ITEMS:
            raise ValueError(f"it holds {count:,} tables in one place: at most {_MOST_ITEMS:,}")
        for at in range(start, start + 4 * count, 4):
            yield Table(self._data, at + _unpack(_UINT32, self._data, at))

    def numbers(self, field: int, dtype: DTypeLike) -> NDArray[Any]:
        """Return a field that is a vector of numbers; an empty array if it is not set."""
        kind = np.dtype(dtype)
        start, count = self._vector(field, kind.itemsize)
        return np.frombuffer(self._data, kind, count, start if count else 0)

    def check_text(self, field: int) -> None:
        """Raise ValueError where a text is not inside the file, with the zero that ends it."""
        start, count = self._vector(field, 1)
        if start and self._data[start + count : start + count + 1] != b"\0":
            raise ValueError("a text in it does not end")

    def check_fields(self) -> None:
        """Raise ValueError where a field begins outside of the table."""
        for field in range(self._count):
            self._at_field(field, 1)

    def is_set(self, field: int) -> bool:
        """Return whether the table has this field."""
        return self._at_field(field, 1) is not None

    def _at_field(self, field: int, size: int) -> int | None:
        if field >= self._count:
            return None
        offset = _unpack(_UINT16, self._data, self._fields + 4 + 2 * field)
        if offset == 0:
            return None
        if offset + size > self._size:
            raise ValueError("a field of it is outside its table")
        return self._at + offset

    def _target(self, field: int) -> int | None:
        at = self._at_field(field, 4)
        return None if at is None else at + _unpack(_UINT32, self._data, at)

    def _vector(self, field: int, itemsize: int) -> tuple[int, int]:
        """Return where the items of a vector begin, and how many they are; 0, 0 if not set."""
        at = self._target(field)
        if at is None:
            return 0, 0
        count = _unpack(_UINT32, self._data, at)
        _require_inside(self._data, at + 4, count * itemsize)
        return at + 4, count


def _unpack(kind: struct.Struct, data: bytes, at: int) -> int:
    _require_inside(data, at, kind.size)
    return int(kind.unpack_from(data, at)[0])


def _require_inside(data: bytes, at: int, size: int) -> None:
    if at < 0 or at + size > len(data):
        raise ValueError("it is damaged: an offset leads out of the file")
