"""Energy, from what a Pi 5's firmware and Linux's powercap have said."""

import os
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.probes import energy
from leansight.benchmarks.probes.energy import (
    NO_METER,
    PmicMeter,
    RaplMeter,
    board_watts,
    find_meter,
    measure_energy,
)
from leansight.benchmarks.results.resources import energy_of

# `vcgencmd pmic_read_adc` on a Pi 5 that does nothing, fewer rails.
PI5 = """\
 3V7_WL_SW_A current(0)=0.00195186A
   3V3_SYS_A current(1)=0.12589500A
  VDD_CORE_A current(7)=0.82156000A
 3V7_WL_SW_V volt(8)=3.70720000V
   3V3_SYS_V volt(9)=3.30260900V
  VDD_CORE_V volt(15)=0.81203820V
     EXT5V_V volt(24)=5.13756000V
      BATT_V volt(25)=0.00000000V
"""
PI5_WATTS = 0.00195186 * 3.7072 + 0.125895 * 3.302609 + 0.82156 * 0.8120382
# On a Pi 4.
PI4 = 'error=1 error_msg="Command not registered"\n'


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    """A package, and what is inside of it, which must not count twice."""
    for name, end in (("intel-rapl:0", 262_143_328_850), ("intel-rapl:0:0", 1)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "energy_uj").write_text("5000000\n")
        (folder / "max_energy_range_uj").write_text(f"{end}\n")
    return tmp_path / "intel-rapl:0"


def test_a_pi_5s_power_is_that_of_its_rails() -> None:
    assert board_watts(PI5) == pytest.approx(PI5_WATTS, rel=1e-9)
    assert board_watts(PI4) is None
    assert board_watts("") is None


def test_a_pi_5_is_read_again_and_again() -> None:
    meter, reason = find_meter(Path("/nowhere"), lambda: PI5)
    assert isinstance(meter, PmicMeter)
    assert (meter.source, reason) == ("the rails of the board (Pi 5's PMIC)", "")
    answers = iter([PI5.replace("0.82156000A", "1.82156000A"), "garbled"])
    meter = PmicMeter(lambda: next(answers, PI5), sample_s=0.005)
    began = time.monotonic()
    meter.start()
    time.sleep(0.1)
    joules = meter.stop()
    assert joules / (time.monotonic() - began) == pytest.approx(PI5_WATTS, rel=0.5)
    assert joules > 0


def test_raplmeter_counts_packages_alone_and_over_the_counters_end(zone: Path) -> None:
    meter, reason = find_meter(zone.parent, lambda: "")
    assert isinstance(meter, RaplMeter)
    assert reason == ""
    meter.start()
    (zone / "energy_uj").write_text("7500000\n")
    (zone.parent / "intel-rapl:0:0" / "energy_uj").write_text("9900000\n")
    assert meter.stop() == pytest.approx(2.5)
    (zone / "energy_uj").write_text("262143328850\n")
    meter.start()
    (zone / "energy_uj").write_text("999999\n")
    assert meter.stop() == pytest.approx(1.0)


def test_why_there_is_no_meter_is_said(zone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_meter(zone / "empty", lambda: PI4) == (None, NO_METER)

    def refuse(_: Path) -> int:
        raise PermissionError(13, "Permission denied")

    (zone / "energy_uj").write_text("damaged")
    meter, reason = find_meter(zone.parent, lambda: "")
    assert meter is None
    assert "RAPL cannot be read here: invalid literal" in reason
    monkeypatch.setattr(energy, "_number", refuse)
    assert find_meter(zone.parent, lambda: "")[1].startswith("only root may read RAPL here: sudo")


def test_no_command_of_a_pi_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert energy.read_pmic() == ""


class Steady:
    """Four watts, by a clock of its own; twice as many while a frame runs."""

    source = "a bench supply"

    def __init__(self) -> None:
        self.frames = 0

    def start(self) -> None:
        self.began, self.before = time.monotonic(), self.frames

    def stop(self) -> float:
        return 4 * (time.monotonic() - self.began) + 0.004 * (self.frames - self.before)

    def frame(self) -> None:
        self.frames += 1
        time.sleep(0.002)


def test_the_energy_of_a_frame_is_told_with_that_of_doing_nothing() -> None:
    meter = Steady()
    reading = measure_energy(meter, meter.frame, 0.1)
    found = energy_of(asdict(reading))
    assert found.source == "a bench supply"
    assert found.frames == meter.frames > 1
    assert found.idle_w == pytest.approx(4, rel=0.2)
    # 4 mJ of each frame come on top of what the machine takes anyway.
    assert found.mj_above_idle == pytest.approx(4, abs=4)
    assert found.mj_per_frame > found.mj_above_idle
    assert found.busy_w > found.idle_w


def test_a_benchmark_on_a_board_with_a_meter_has_each_models_energy(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "bin" / "vcgencmd"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\ntest $1 = pmic_read_adc && cat <<'END'\n{PI5}END\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    settings = Settings(frames=1, precision=None)
    found = benchmark(find_models([tiny_bundle], "tflite"), [synthetic_image()], settings)
    (result,) = found.results
    assert found.conditions.energy == ""
    assert result.energy is not None
    # This board takes the same whatever it does.
    assert result.energy.idle_w == pytest.approx(PI5_WATTS, rel=0.1)
    assert result.energy.busy_w == pytest.approx(PI5_WATTS, rel=0.1)
    assert result.energy.mj_per_frame > 0
    assert result.energy.frames > 1
