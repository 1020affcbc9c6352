"""What a machine is, and how it is at a moment: load, temperature, clock, throttling."""

import itertools
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from leansight.runtime.errors import DataError
from leansight.runtime.system.board import read_board, read_throttled_bits
from leansight.runtime.system.kernel import (
    board_or_processor,
    core_count,
    processor_flags,
    stolen_s,
)

_SYS: Final = Path("/sys")
# What decides which int8 kernels an interpreter takes.
_FEATURES: Final = frozenset(
    {"avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "fma", "sse4_1"}
    | {"asimd", "asimddp", "asimdhp", "i8mm", "sve", "sve2", "neon", "vfpv4"}
)
_PACKAGES: Final = (
    *("leansight", "numpy", "opencv-python-headless", "ai-edge-litert", "tflite-runtime"),
    "onnxruntime",
)
_NOW_BITS: Final = 0xF  # of `read_throttled_bits`: at this moment
_SINCE_BOOT_SHIFT: Final = 16


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """What does not change while something is measured.

    `versions`: of the packages that take part. `timer_ns`: the smallest step of the clock that
    was seen. `cores`: those that the benchmark may use. `features`: those of the processor that
    interpreters have kernels for.
    """

    name: str
    kernel: str
    python: str
    versions: dict[str, str]
    features: tuple[str, ...]
    governor: str | None
    timer_ns: int
    cores: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class MachineState:
    """How a machine is at `time` (ISO 8601, UTC); None where it does not tell.

    `load_average`: programs that ran or wanted to, over the last minute, ours among them.
    `stolen_s`: for how long, since the start, a virtual machine's host did something else.
    `throttled_bits`: a Pi's, `throttle_count`: an Intel processor's.
    """

    time: str
    load_average: float | None
    temperature_c: float | None
    clock_mhz: float | None
    throttled_bits: int
    throttle_count: int
    stolen_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def read_facts() -> MachineFacts:
    """Return what this machine is."""
    return MachineFacts(
        name=machine(),
        kernel=platform.platform(),
        python=platform.python_version(),
        versions=_versions(),
        features=tuple(sorted(_FEATURES & processor_flags())),
        governor=_text(_SYS / "devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        timer_ns=_timer_ns(),
        cores=core_count(),
    )


def facts_from(values: Mapping[str, Any]) -> MachineFacts:
    """Return what `MachineFacts.to_dict` gave, after a way as JSON."""
    return MachineFacts(**{**values, "features": tuple(values["features"])})


def require_cores(threads: int, cores: int, place: str = "this machine") -> None:
    """Raise DataError where a machine has not as many cores as there are to be threads."""
    if threads > cores:
        there = "1 core" if cores == 1 else f"{cores} cores"
        raise DataError(
            f"{place} has {there}: {threads} threads would wait for each other. "
            f"Give {cores} at most",
            parameter="threads",
        )


def machine() -> str:
    """Name the board or the processor, and how many cores it has."""
    return f"{board_or_processor()}, {os.cpu_count()} cores"


def read_state(sys: Path = _SYS) -> MachineState:
    """Return how this machine is now; it takes some reads of small files."""
    clocks = _numbers(sys, "devices/system/cpu/cpu*/cpufreq/scaling_cur_freq")
    throttles = _numbers(sys, "devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")
    return MachineState(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        temperature_c=read_board(sys).temperature_c,
        clock_mhz=max(clocks) / 1000 if clocks else None,
        throttled_bits=read_throttled_bits(sys),
        throttle_count=sum(throttles),
        stolen_s=stolen_s(),
    )


def throttling(states: Sequence[MachineState]) -> str:
    """Say how a machine slowed itself down between the first state and the last, "" if it did not.

    On a Pi that is also what happened between two states: the firmware remembers it.
    """
    now = [state.time for state in states if state.throttled_bits & _NOW_BITS]
    if now:
        return f"the board was throttled, or its voltage too low, at {now[0]}"
    first, last = states[0], states[-1]
    if (last.throttled_bits & ~first.throttled_bits) >> _SINCE_BOOT_SHIFT:
        return "the board was throttled, or its voltage too low, between two measurements"
    if last.throttle_count > first.throttle_count:
        return f"the processor throttled {last.throttle_count - first.throttle_count} times"
    return ""


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _timer_ns() -> int:
    """Return the smallest step of the clock among 1000."""
    times = [time.perf_counter_ns() for _ in range(1001)]
    steps = [after - before for before, after in itertools.pairwise(times)]
    return min((step for step in steps if step), default=0)


def _numbers(sys: Path, pattern: str) -> list[int]:
    return [int(text) for path in sys.glob(pattern) if (text := _text(path)).isdigit()]


def _text(path: Path) -> str:
    """Return the text of a file; "" where there is none, or a sensor that is switched off."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
