import os
import subprocess
import sys

import pytest

from leansight.runtime.system.kernel import (
    memory_bytes,
    own_memory_bytes,
    processor_flags,
    stolen_s,
)

HELD = """
import os
from leansight.runtime.system.kernel import hold_on_cores
print(hold_on_cores({threads}), sorted(os.sched_getaffinity(0)))
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux holds programs on cores")
@pytest.mark.parametrize("threads", [1, 100])
def test_a_process_is_held_on_the_last_cores(threads: int) -> None:
    code = HELD.format(threads=threads)
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    assert said.stdout.strip() == f"{cores} {cores}"


def test_what_the_kernel_tells_of_the_processor() -> None:
    assert all(flag.strip() == flag and flag for flag in processor_flags())
    stolen = stolen_s()
    assert stolen is None or stolen >= 0


def test_memory_is_read_from_what_the_kernel_tells_or_unknown() -> None:
    status = "VmPeak:\t  99 kB\nVmHWM:\t  2096 kB\nVmRSS:\t  2000 kB\nnonsense"
    rollup = "5583-7ffd ---p 0 00:00 0 [rollup]\nRss: 2000 kB\nPss:    1500 kB\nPss_Dirty: 7 kB"
    assert memory_bytes(status, rollup) == {
        "peak_rss": 2096 * 1024,
        "rss": 2000 * 1024,
        "pss": 1500 * 1024,
    }
    assert memory_bytes("", "") == {"peak_rss": None, "rss": None, "pss": None}


def test_memory_rises_by_what_a_process_fills() -> None:
    before = own_memory_bytes()
    if None in before.values():
        pytest.skip("the kernel of this system does not tell")
    filled = bytearray(b"x" * 50_000_000)
    after = own_memory_bytes()
    for kind in ("rss", "pss"):
        risen = (after[kind] or 0) - (before[kind] or 0)
        assert risen == pytest.approx(len(filled), rel=0.03)
