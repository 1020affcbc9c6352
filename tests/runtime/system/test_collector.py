import gc

import pytest

from leansight.runtime.system.collector import importing


def import_something(made: list[object]) -> None:
    with importing():
        assert not gc.isenabled()
        made.append([made])
        raise ImportError


@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_imported_is_never_looked_through(*, enabled: bool) -> None:
    before, made = gc.isenabled(), list[object]()
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(ImportError):
            import_something(made)
        assert gc.isenabled() is enabled
        assert all(known is not made[0] for known in gc.get_objects())
    finally:
        (gc.enable if before else gc.disable)()
