"""What differs between two definitions, in words."""

from collections.abc import Mapping, Sequence
from typing import Any


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say for each value (dotted key) that differs what it was and what it is now."""
    found = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, now = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            found += differences(before, now, f"{prefix}{key}.")
        elif _said(before) != _said(now):
            found.append(f"{prefix}{key} was {_said(before)}, not {_said(now)}")
    return found


def _said(value: object) -> str:
    if isinstance(value, list):
        return between_commas(value) or "nothing"
    return "nothing" if value in (None, "") else str(value)


def between_commas(values: Sequence[object]) -> str:
    """Return the values as a user writes a list in an option: 1,2,3."""
    return ",".join(map(str, values))
