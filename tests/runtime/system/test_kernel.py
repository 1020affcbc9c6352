import json
import os
import subprocess
import sys

import pytest

from leansight.runtime.system.kernel import (
    memory_bytes,
    processor_flags,
    stolen_s,
)

HELD = """
import os
from leansight.runtime.system.kernel import hold_on_cores
print(hold_on_cores({threads}), sorted(os.sched_getaffinity(0)))
"""

FILLED = """
import json
from leansight.runtime.system.kernel import own_memory_bytes
print(json.dumps(own_memory_bytes()))
filled = bytearray(50_000_000)
filled[::1024] = b"x" * len(filled[::1024])
print(json.dumps(own_memory_bytes()))
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
    # In a process of its own: beside other tests something else may free memory meanwhile.
    out = subprocess.run([sys.executable, "-c", FILLED], check=True, capture_output=True, text=True)
    before, after = (json.loads(line) for line in out.stdout.splitlines())
    if None in before.values():
        pytest.skip("the kernel of this system does not tell")
    for kind in ("rss", "pss"):
        assert after[kind] - before[kind] == pytest.approx(50_000_000, rel=0.03)
