import errno
import mmap
import platform
import threading
import time
from pathlib import Path

import pytest

from leansight.runtime.system import processor_counters as counters
from leansight.runtime.system.processor_counters import HARDWARE_EVENTS, ProcessCounters

# linux/perf_event.h: what the kernel counts itself, in virtual machines too.
TASK_CLOCK, PAGE_FAULTS = (1, 1), (1, 2)
PAGE_BYTES = 4096


def or_skip(counting: ProcessCounters) -> ProcessCounters:
    if counting.reason:
        pytest.skip(counting.reason)
    return counting


def busy(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_what_is_counted_is_this_processs_own_work() -> None:
    with or_skip(ProcessCounters({"ns": TASK_CLOCK, "faults": PAGE_FAULTS})) as counting:
        before, start = counting.read(), time.thread_time_ns()
        busy(0.05)
        time.sleep(0.05)  # takes no processor
        with mmap.mmap(-1, 400 * PAGE_BYTES) as fresh:  # the heap may have pages to spare
            for page in range(400):
                fresh[page * PAGE_BYTES] = 1
        after, own_ns = counting.read(), time.thread_time_ns() - start
    assert after["ns"] - before["ns"] == pytest.approx(own_ns, rel=0.2)
    assert after["faults"] - before["faults"] >= 200


def test_threads_that_start_later_are_counted() -> None:
    with or_skip(ProcessCounters({"ns": TASK_CLOCK})) as counting:
        before = counting.read()["ns"]
        thread = threading.Thread(target=busy, args=(0.05,))
        thread.start()
        thread.join()
        assert counting.read()["ns"] - before > 40_000_000


def test_instructions_do_not_depend_on_time() -> None:
    with or_skip(ProcessCounters(HARDWARE_EVENTS)) as counting:
        counts = []
        for _ in range(2):
            before = counting.read()["instructions"]
            sum(range(1_000_000))
            counts.append(counting.read()["instructions"] - before)
    assert counts[0] == pytest.approx(counts[1], rel=0.05)


def test_an_event_that_is_unknown_says_why_and_leaves_no_file_open() -> None:
    if platform.system() != "Linux":
        pytest.skip("perf_event_open is Linux's")
    before = len(list(Path("/proc/self/fd").iterdir()))
    counting = ProcessCounters({"ns": TASK_CLOCK, "none": (77, 0)})
    assert counting.reason
    assert counting.read() == {}
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_not_allowed_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_event: counters.Event) -> int:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(counters, "_open", refused)
    assert "kernel.perf_event_paranoid" in ProcessCounters().reason


def test_another_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert ProcessCounters().reason.endswith("riscv64")
