"""Python's garbage collector, while large libraries are imported."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Collect no garbage meanwhile, and never look again through what is there at the end.

    The imports of torch and of TFLite's converter make half a million objects that stay; a
    collector that starts after every 700 new ones looks through all of them again and again.
    Source: https://docs.python.org/3/library/gc.html#gc.freeze
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
        gc.freeze()
