import os
import subprocess
import sys

import pytest

from leansight.runtime.system.kernel import processor_flags, stolen_s

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
