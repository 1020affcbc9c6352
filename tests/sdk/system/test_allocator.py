"""What training frees is used again: the kernel hands out no new pages."""

import ctypes
import subprocess
import sys

import pytest

# In a process of its own: the settings are the whole process's. Page faults are the kernel's count.
FAULTS = """
import resource, sys
import torch
from leansight.sdk.system.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(20):  # until the heap has its size
    torch.zeros(2**24)  # 64 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.zeros(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    command = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc only"
)
def test_freed_memory_is_used_again() -> None:
    assert faults("keep") < 100 < faults("do not")
