"""Instructions and cycles of this process, counted by the processor: Linux's `perf_event_open`.

Other programs do not change what is counted, as they change a time. Where the kernel does not
allow it, or a virtual machine has no counters, the reason is said.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from typing import Final, Self

# linux/perf_event.h: type and config of an event.
Event = tuple[int, int]
HARDWARE_EVENTS: Final[Mapping[str, Event]] = {"cycles": (0, 0), "instructions": (0, 1)}
# The number of the system call (asm/unistd.h).
_CALLS: Final = {"x86_64": 298, "aarch64": 241, "armv7l": 364, "armv6l": 364}
_SIZE: Final = 128  # PERF_ATTR_SIZE_VER7
_WORDS: Final = struct.Struct("=IIQQQQQ")  # type, size, config, period, sample, format, flags
_TOTAL_TIMES: Final = 1 | 2  # how long the event was enabled, and how long it counted
# Threads that start later count as well; the kernel's and the hypervisor's work do not.
_FLAGS: Final = 1 << 1 | 1 << 5 | 1 << 6
_CLOSE_ON_EXEC: Final = 8
_NOT_ALLOWED: Final = "not allowed here: sudo sysctl kernel.perf_event_paranoid=2"
_REASONS: Final = {
    errno.ENOENT: "this processor, or this virtual machine, has no counters",
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
}
_READING: Final = struct.Struct("=QQQ")


class ProcessCounters:
    """Counters of this process and of the threads that it starts from now on.

    `reason` says why there are none; it is "" where they count.
    """

    def __init__(self, events: Mapping[str, Event] = HARDWARE_EVENTS) -> None:
        self._files: dict[str, int] = {}
        self.reason = ""
        try:
            for name, event in events.items():
                self._files[name] = _open(event)
        except OSError as error:
            self.close()
            self.reason = _REASONS.get(error.errno or 0, error.strerror or "not counted here")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def read(self) -> dict[str, int]:
        """Return what was counted until now, by the events' names; nothing if there are none.

        Where the processor has fewer counters than were asked for, they take turns, and the
        figure is extended to the whole time.
        """
        return {name: _read(file) for name, file in self._files.items()}

    def close(self) -> None:
        """Stop counting."""
        while self._files:
            os.close(self._files.popitem()[1])


def _open(event: Event) -> int:
    call = _CALLS.get(platform.machine())
    if platform.system() != "Linux" or call is None:
        raise OSError(0, f"no counters are known on {platform.system()} {platform.machine()}")
    attributes = (ctypes.c_char * _SIZE)()
    kind, config = event
    _WORDS.pack_into(attributes, 0, kind, _SIZE, config, 0, 0, _TOTAL_TIMES, _FLAGS)
    libc = ctypes.CDLL(None, use_errno=True)
    this_process, any_processor, no_group = 0, -1, -1
    file: int = libc.syscall(
        call, attributes, this_process, any_processor, no_group, ctypes.c_ulong(_CLOSE_ON_EXEC)
    )
    if file < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return file


def _read(file: int) -> int:
    count, enabled_ns, counted_ns = map(int, _READING.unpack(os.read(file, _READING.size)))
    return count * enabled_ns // counted_ns if counted_ns else count
