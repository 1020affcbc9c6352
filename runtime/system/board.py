"""How a board is: its temperature, and whether it slows down. Linux tells it in files of /sys."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SYS: Final = Path("/sys")
HOT_C: Final = 80.0  # where a Raspberry Pi begins to slow down
# What `get_throttled` says of this moment, by its bits (raspberrypi.com/documentation, vcgencmd).
_THROTTLED: Final = {
    0: "the supply voltage is too low",
    1: "the processor's clock is capped",
    2: "the processor is throttled",
    3: "the soft limit of temperature is reached",
}


@dataclass(frozen=True, kw_only=True)
class Board:
    """The temperature of a board in degrees Celsius, None where it is not told, and its troubles.

    `troubles` are lines for people, such as "the processor is throttled"; none where all is well.
    """

    temperature_c: float | None
    troubles: tuple[str, ...]


def read_board(sys: Path = _SYS) -> Board:
    """Return how the board is now; it takes some reads of small files, and no process."""
    temperature_c = _temperature_c(sys)
    throttled = read_throttled_bits(sys)
    troubles = [text for bit, text in _THROTTLED.items() if throttled >> bit & 1]
    if not troubles and _has_low_voltage(sys):
        troubles.append(_THROTTLED[0])
    if temperature_c is not None and temperature_c >= HOT_C:
        troubles.append(f"the processor is hot: {temperature_c:.0f} °C")
    return Board(temperature_c=temperature_c, troubles=tuple(troubles))


def read_throttled_bits(sys: Path = _SYS) -> int:
    """Return what the Pi's firmware says (raspberrypi/linux, pull request 2397), 0 elsewhere.

    Bits 0 to 3 are of this moment, bits 16 to 19 the same since the board was switched on.
    """
    for path in sys.glob("devices/platform/soc*/*:firmware/get_throttled"):
        try:
            return int(_read(path), 16)
        except ValueError:
            continue
    return 0


def _temperature_c(sys: Path) -> float | None:
    """Return the temperature of the hottest zone."""
    zones = (_read(zone) for zone in sys.glob("class/thermal/thermal_zone*/temp"))
    degrees = [int(zone) / 1000 for zone in zones if zone.lstrip("-").isdigit()]
    return max(degrees, default=None)


def _has_low_voltage(sys: Path) -> bool:
    """Return the alarm of the driver `rpi_volt`."""
    monitors = sys.glob("class/hwmon/hwmon*")
    return any(
        _read(monitor / "name") == "rpi_volt" and _read(monitor / "in0_lcrit_alarm") == "1"
        for monitor in monitors
    )


def _read(path: Path) -> str:
    """Return the text of a file; "" where it cannot be read, as a sensor that is switched off."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
