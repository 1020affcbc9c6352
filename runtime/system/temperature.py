"""The temperature of the machine, as the kernel tells it."""

from pathlib import Path
from typing import Final

THERMAL_ZONES: Final = Path("/sys/class/thermal")


def read_temperature_c() -> float | None:
    """Return the temperature of the hottest thermal zone in °C; None where there is none."""
    readings = map(_read, THERMAL_ZONES.glob("thermal_zone*/temp"))
    return max((reading for reading in readings if reading is not None), default=None)


def _read(zone: Path) -> float | None:
    """Return what a zone reads; a sensor that is off or asleep is an error or no number."""
    try:
        return int(zone.read_text()) / 1000
    except (OSError, ValueError):
        return None
