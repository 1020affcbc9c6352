from pathlib import Path

import pytest

from leansight.runtime.system.board import Board, read_board


def write(sys: Path, name: str, text: str) -> None:
    path = sys / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_of_a_board_that_tells_nothing_nothing_is_known(tmp_path: Path) -> None:
    assert read_board(tmp_path) == Board(temperature_c=None, troubles=())


def test_the_hottest_zone_counts(tmp_path: Path) -> None:
    write(tmp_path, "class/thermal/thermal_zone0/temp", "48312")
    write(tmp_path, "class/thermal/thermal_zone1/temp", "81000")
    board = read_board(tmp_path)
    assert board.temperature_c == pytest.approx(81)
    assert board.troubles == ("the processor is hot: 81 °C",)


@pytest.mark.parametrize(
    ("bits", "troubles"),
    [
        ("0", ()),
        ("50000", ()),  # it was, since the board was started
        ("50005", ("the supply voltage is too low", "the processor is throttled")),
        ("8", ("the soft limit of temperature is reached",)),
    ],
)
def test_the_firmwares_bits_of_this_moment_are_read(
    tmp_path: Path, bits: str, troubles: tuple[str, ...]
) -> None:
    write(tmp_path, "devices/platform/soc/soc:firmware/get_throttled", bits)
    assert read_board(tmp_path).troubles == troubles


def test_the_voltage_alarm_of_a_newer_kernel_is_read(tmp_path: Path) -> None:
    write(tmp_path, "class/hwmon/hwmon1/name", "rpi_volt")
    write(tmp_path, "class/hwmon/hwmon1/in0_lcrit_alarm", "1")
    assert read_board(tmp_path).troubles == ("the supply voltage is too low",)


def test_a_sensor_that_is_off_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "class/thermal/thermal_zone0/temp").mkdir(parents=True)
    assert read_board(tmp_path).temperature_c is None
