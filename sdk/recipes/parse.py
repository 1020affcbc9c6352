"""TOML tables become dataclasses; a message names the key."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from sys import float_info
from types import UnionType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from leansight.sdk.augmentation.catalogue import CHANGES
from leansight.sdk.augmentation.change import Change

_LARGEST: Final = 1 << 32  # of a whole number, such as a random seed; another is finite
# What a TOML value must be, by the type of its field; Literals are texts.
_VALUES: Final[Mapping[Any, tuple[str, tuple[type, ...]]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a text", (str,)),
    Literal: ("a text", (str,)),
    tuple: ("a list", (list, tuple)),
    Mapping: ("a table", (dict,)),
}


def build_section(kind: type, name: str, values: object) -> object:
    """Make a dataclass from a table, table by table, so that a message names the key."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{name or 'a recipe'} must be a table, not {values!r}")
    types = _types_of(kind)
    known = [f.name for f in fields(kind)]
    arguments = {}
    for key, value in values.items():
        where = f"{name}.{key}" if name else key
        if key not in known:
            raise TypeError(f"{where} is unknown; expected one of {', '.join(known)}")
        arguments[key] = _value(types[key], where, value)
    return kind(**arguments)


@cache
def _types_of(kind: type) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields, which are slow to find out."""
    return get_type_hints(kind)


def _value(kind: Any, where: str, value: Any) -> Any:  # noqa: ANN401 -- any type, any TOML value
    """Hold a TOML value against the type of its field."""
    if get_origin(kind) is UnionType:  # X | None, or a number | several
        if value is None:
            return None
        kinds = get_args(kind)
        several = (
            len(kinds) > 1 and get_origin(kinds[1]) is tuple and isinstance(value, list | tuple)
        )
        kind = kinds[several]
    if is_dataclass(kind):
        return _change(where, value) if kind is Change else build_section(kind, where, value)  # type: ignore[arg-type]
    expected, types = _VALUES[get_origin(kind) or kind]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise TypeError(f"{where} must be {expected}, not {value!r}")
    largest = float_info.max if isinstance(value, float) else _LARGEST
    if isinstance(value, float | int) and abs(value) > largest:
        raise TypeError(f"{where} must be {expected} of at most {largest:g}, not {str(value)[:20]}")
    entries: Any = value
    if get_origin(kind) is tuple:
        item: Any = get_args(kind)[0]
        return tuple(_value(item, f"{where}[{i}]", entry) for i, entry in enumerate(entries))
    if get_origin(kind) is Mapping:
        item = get_args(kind)[1]
        return {key: _value(item, f"{where}.{key}", entry) for key, entry in entries.items()}
    return value


def _change(where: str, value: object) -> object:
    """Make one change of an augmentation, which `change` names."""
    if not isinstance(value, Mapping) or "change" not in value:
        raise TypeError(f'{where} must be a table with change = "NAME", not {value!r}')
    name = value["change"]
    if name not in CHANGES:
        raise TypeError(f"{where}: no change {name!r}; there are {', '.join(CHANGES)}")
    options = {key: v for key, v in value.items() if key != "change"}
    return build_section(CHANGES[name], where, options)
