"""Held against systemd's own reading of units, where its tools are."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.runtime.service.unit import ServiceUnit

ANALYZE = shutil.which("systemd-analyze")
UNIT = ServiceUnit(
    name="leansight",
    bundle="signs.bundle",
    command=["/bin/true", "stream", "/srv/signs.bundle", "--source", "0"],
    user="daemon",
    groups=["video"],
    working_directory=Path("/srv"),
)
ODD = r"""50% of "$HOME" it's \n; here"""


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_a_plain_unit() -> None:
    text = UNIT.text()
    assert values(text, "Type") == ["notify"]
    assert values(text, "ExecStart") == ["/bin/true stream /srv/signs.bundle --source 0"]
    assert values(text, "Restart") == ["always"]
    assert values(text, "WatchdogSec") == ["30"]
    assert values(text, "MemoryMax") == ["500M"]
    assert values(text, "ProtectSystem") == ["strict"]
    assert values(text, "SupplementaryGroups") == ["video"]
    assert values(text, "WantedBy") == ["multi-user.target"]
    assert values(text, "ReadWritePaths") == []
    assert values(text, "FailureAction") == []
    assert not [device for device in values(text, "DeviceAllow") if "gpio" in device]


def test_what_is_asked_for_is_in_it() -> None:
    text = replace(
        UNIT,
        groups=["video", "gpio"],
        writable=[Path("/var/lib/signs"), Path("/srv/a b")],
        password_file=Path("/etc/mqtt password"),
        uses_pins=True,
        reboots_when_stuck=True,
        systemd_version=254,
    ).text()
    assert values(text, "SupplementaryGroups") == ["video gpio"]
    assert values(text, "ReadWritePaths") == ["/var/lib/signs", '"/srv/a b"']
    assert values(text, "LoadCredential") == ["mqtt-password:/etc/mqtt password"]
    assert values(text, "FailureAction") == ["reboot-force"]
    assert values(text, "RestartPreventExitStatus") == ["75"]
    assert values(text, "RestartSteps") == ["6"]
    assert "char-gpiochip rw" in values(text, "DeviceAllow")


def test_words_are_escaped_as_systemd_reads_them() -> None:
    unit = replace(UNIT, command=["/bin/true", ODD, ""], bundle="50%.bundle")
    assert values(unit.text(), "ExecStart") == [
        r'''/bin/true "50%% of \"$$HOME\" it's \\n; here" ""'''
    ]
    assert values(unit.text(), "Description") == ["Classify what a camera sees with 50%%.bundle"]


def test_a_control_character_is_refused() -> None:
    with pytest.raises(DataError, match="control character, which no unit may"):
        replace(UNIT, command=["/bin/true", "a\nExecStartPre=/bin/sh"])


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize(
    "unit",
    [
        UNIT,
        replace(
            UNIT,
            command=["/bin/true", ODD, "%", "$", "\\"],
            bundle="50%.bundle",
            working_directory=Path("/srv/50% of it"),
            writable=[Path("/srv/a b%"), Path('/srv/"c"')],
            password_file=Path("/etc/50% password"),
            uses_pins=True,
            reboots_when_stuck=True,
        ),
    ],
    ids=["plain", "odd"],
)
def test_systemd_finds_no_fault(tmp_path: Path, unit: ServiceUnit) -> None:
    assert ANALYZE is not None
    file = tmp_path / "leansight.service"
    file.write_text(unit.text())
    verify = [ANALYZE, "verify", "--man=no", str(file)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    file.write_text(unit.text().replace("MemoryMax", "MemoryMost"))
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert "MemoryMost" in done.stderr, "it finds no fault in anything"


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze")
def test_systemd_calls_the_service_ok(tmp_path: Path) -> None:
    assert ANALYZE is not None
    file = tmp_path / "leansight.service"
    file.write_text(UNIT.text())
    words = [ANALYZE, "security", "--offline=true", "--threshold=25", str(file)]  # 2.5 of 10
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1]
