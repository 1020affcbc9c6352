"""What a folder was begun with, held against what is asked for now."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leansight.runtime.errors import DataError
from leansight.sdk.system.text import between_commas, first_five


def require_same(begun: Mapping[str, Any], asked: Mapping[str, Any], folder: Path) -> None:
    """Raise DataError if the folder was begun with other settings: the first five are named."""
    if differing := differences(begun, asked):
        raise DataError(
            f"{folder} was begun with other settings: {first_five(differing)}. Repeat those to go "
            "on, or choose another folder",
            parameter="out",
        )


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
