"""What a test may not leave behind: threads, processes, descriptors."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest


def children() -> set[str]:
    """Return the numbers of this process's children, zombies among them."""
    found: set[str] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            found.update(task.read_text().split())
    return found


def descriptors() -> list[Path]:
    return list(Path("/proc/self/fd").iterdir())


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """No thread, no process and no descriptor is left of a stream."""
    threads, processes = set(threading.enumerate()), children()
    opened = len(descriptors())
    yield
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= threads
    assert children() <= processes
    assert len(descriptors()) <= opened
