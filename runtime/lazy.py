"""Names of a package that are imported when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

from leansight.runtime.errors import MissingExtraError


def import_on_first_use(
    package: str, names_of: Mapping[str, str], *, extra: str
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package whose names live in its modules.

    Args:
        package: its `__name__`.
        names_of: what each module gives, parted by spaces, by its path inside the package, or by
            its whole name where it is another package's.
        extra: what installs the libraries that its modules need; a missing one is a
            MissingExtraError.

    """
    home_of = {
        name: module if module.startswith("leansight.") else f"{package}.{module}"
        for module, names in names_of.items()
        for name in names.split()
    }

    def get(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            found: object = getattr(import_module(home_of[name]), name)
        except ModuleNotFoundError as error:
            raise MissingExtraError(str(error.name), extra) from error
        setattr(sys.modules[package], name, found)  # the next time Python finds it by itself
        return found

    return get, lambda: sorted({*vars(sys.modules[package]), *home_of})
