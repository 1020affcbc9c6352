"""Memory without a name that processes share by its descriptor, and a lock on it; Linux alone.

The kernel lets go of a record lock when its holder dies. The threads of a process do not exclude
each other, and a process lets go of its lock when it closes any descriptor of the memory, such as
that of a mapping.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def new_memory(name: str, size: int = 0) -> int:
    """Return the descriptor of so many zero bytes; it is closed in programs that are started."""
    descriptor = os.memfd_create(name)
    os.ftruncate(descriptor, size)
    return descriptor


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Hold the memory alone while the `with` lasts; wait while another process has it."""
    import fcntl

    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)


@contextmanager
def locked_at_once(descriptor: int) -> Iterator[bool]:
    """Hold the memory alone while the `with` lasts; give False where another process has it."""
    import fcntl

    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows either
        yield False
        return
    try:
        yield True
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)
