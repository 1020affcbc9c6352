import os
import subprocess
import sys
import time

from leansight.runtime.system.shared_memory import locked, locked_at_once, new_memory

HOLDER = """
import sys, time
from leansight.runtime.system.shared_memory import locked
with locked(int(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def test_memory_begins_as_zeros_and_has_no_name() -> None:
    descriptor = new_memory("leansight-test", 10)
    assert os.pread(descriptor, 100, 0) == bytes(10)
    assert os.fstat(descriptor).st_nlink == 0
    os.close(descriptor)


def test_a_lock_excludes_another_process_until_that_is_killed() -> None:
    descriptor = new_memory("leansight-test", 10)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(descriptor)],
        pass_fds=[descriptor],
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with locked_at_once(descriptor) as is_held:
            assert not is_held
        holder.kill()
        started = time.monotonic()
        with locked(descriptor):
            assert time.monotonic() - started < 1
    with locked_at_once(descriptor) as is_held:
        assert is_held
    os.close(descriptor)
