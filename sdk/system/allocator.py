"""Settings of what gives memory and takes it back: C's malloc, and Python's garbage collector."""

import ctypes
import gc
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1  # M_TRIM_THRESHOLD of malloc.h
_MMAP_MAX: Final = -4  # M_MMAP_MAX
_NEVER: Final = -1
# New objects until the youngest are looked through; rounds until the older, and until all are.
_COLLECTION: Final = (20_000, 20, 20)


def keep_freed_memory() -> None:
    """Let malloc keep what this process frees, for torch to take again.

    glibc hands large blocks back to the kernel at once, and every new one is mapped and zeroed page
    by page: a quarter of the time of training ResNet-custom on 64×64 pixels (mallopt(3)). Where the
    C library has no such settings, nothing changes.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # musl has none
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, _NEVER)


def collect_garbage_rarely() -> None:
    """Look for garbage in cycles more rarely than after 700 new objects, as Python does.

    The imports of torch and of TFLite's converter make half a million objects that stay, and Python
    looks through all of them again and again (`gc.set_threshold`).
    """
    gc.set_threshold(*_COLLECTION)
