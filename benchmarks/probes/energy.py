"""The energy that a machine takes, where it has a meter: a Pi 5's PMIC, a processor's RAPL.

Both measure more than a model: the PMIC the whole board but what hangs on its 5 V, RAPL the whole
package of the processor. So a model's energy is told with that of doing nothing beside it.
"""

import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_POWERCAP: Final = Path("/sys") / "class/powercap"
_ZONES: Final = "intel-rapl:?"  # a package each; AMD's driver has the same name
_RAIL: Final = re.compile(r"^\s*(\S+)_(A|V) (?:current|volt)\(\d+\)=([\d.]+)[AV]$", re.MULTILINE)
_PMIC: Final = ("vcgencmd", "pmic_read_adc")
_SAMPLE_S: Final = 0.1
_ANSWER_S: Final = 5
NO_METER: Final = "no meter here that leansight reads (a Pi 5's PMIC, RAPL)"


class Meter(Protocol):
    """Measures the energy between `start` and `stop`."""

    @property
    def source(self) -> str:
        """What it measures."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> float:
        """Return the joules since the start."""


def find_meter(
    powercap: Path = _POWERCAP, pmic: "Callable[[], str] | None" = None
) -> "tuple[Meter | None, str]":
    """Return this machine's meter; or None, and why there is none."""
    read = pmic or read_pmic
    if board_watts(read()) is not None:
        return PmicMeter(read), ""
    zones = sorted(powercap.glob(_ZONES))
    if not zones:
        return None, NO_METER
    try:
        meter = RaplMeter(zones)
        meter.start()
    except PermissionError:
        return None, f"only root may read RAPL here: sudo chmod a+r {powercap}/*/energy_uj"
    except (OSError, ValueError) as error:
        return None, f"RAPL cannot be read here: {error}"
    return meter, ""


def read_pmic() -> str:
    """Return what a Pi's firmware says of its rails; "" where there is no such command."""
    try:
        done = subprocess.run(_PMIC, check=False, capture_output=True, text=True, timeout=_ANSWER_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def board_watts(told: str) -> float | None:
    """Return the sum over all rails of volts times amperes; None where there are none.

    EXT5V and BATT have no amperes: what hangs on the 5 V, and what the converters lose, is not in
    it.
    """
    rails: dict[str, dict[str, float]] = {}
    for rail, unit, value in _RAIL.findall(told):
        rails.setdefault(rail, {})[unit] = float(value)
    watts = [rail["A"] * rail["V"] for rail in rails.values() if len(rail) == 2]  # noqa: PLR2004 -- both
    return sum(watts) if watts else None


class PmicMeter:
    """A Pi 5's: its power is read ten times a second, by a thread."""

    source = "the rails of the board (Pi 5's PMIC)"

    def __init__(self, read: Callable[[], str] = read_pmic, sample_s: float = _SAMPLE_S) -> None:
        self._read, self._sample_s = read, sample_s

    def start(self) -> None:
        """See `Meter`."""
        self._watts: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._began = time.monotonic()
        self._thread.start()

    def stop(self) -> float:
        """See `Meter`."""
        seconds = time.monotonic() - self._began
        self._ended.set()
        self._thread.join()
        return sum(self._watts) / len(self._watts) * seconds if self._watts else 0.0

    def _sample(self) -> None:
        while True:
            watts = board_watts(self._read())
            if watts is not None:
                self._watts.append(watts)
            if self._ended.wait(self._sample_s):
                return


class RaplMeter:
    """A processor's: counters of microjoules, one a package, that begin again at their end."""

    source = "the processor's package (RAPL)"

    def __init__(self, zones: "list[Path]") -> None:
        self._zones = zones
        self._ranges = [_number(zone / "max_energy_range_uj") for zone in zones]

    def start(self) -> None:
        """See `Meter`."""
        self._before = self._read()

    def stop(self) -> float:
        """See `Meter`."""
        spans = zip(self._read(), self._before, self._ranges, strict=True)
        return sum((after - before) % (end + 1) for after, before, end in spans) / 1e6

    def _read(self) -> list[int]:
        return [_number(zone / "energy_uj") for zone in self._zones]


def _number(file: Path) -> int:
    return int(file.read_text())


@dataclass(frozen=True, kw_only=True)
class EnergyReading:
    """Joules and seconds of doing nothing, then of so many frames one after the other."""

    source: str
    idle_joules: float
    idle_seconds: float
    joules: float
    seconds: float
    frames: int


def measure_energy(meter: Meter, run: Callable[[], object], seconds: float) -> EnergyReading:
    """Let the meter see half as long nothing, then `run` again and again for so many seconds."""
    began = time.monotonic()
    meter.start()
    time.sleep(seconds / 2)
    idle_joules, idle_seconds = meter.stop(), time.monotonic() - began
    began, frames = time.monotonic(), 0
    meter.start()
    while frames == 0 or time.monotonic() - began < seconds:
        run()
        frames += 1
    return EnergyReading(
        source=meter.source,
        idle_joules=idle_joules,
        idle_seconds=idle_seconds,
        seconds=time.monotonic() - began,
        joules=meter.stop(),
        frames=frames,
    )
