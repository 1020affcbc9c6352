"""Machines that have only Python: what is brought there, and what they say when it fails."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from doubles.far_machine import bare_python, executable, ssh_to_here

from leansight.benchmarks.boards.wheel import pack_wheel
from leansight.benchmarks.remote import machine_at
from leansight.benchmarks.ssh import RemoteError
from leansight.sdk.commands.bench import command


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return ssh_to_here(monkeypatch, tmp_path / "machines")


# What venv says of it, and not why: it keeps to itself what ensurepip says.
_ENSUREPIP_FAILS = "echo \"Error: Command 'ensurepip' returned non-zero exit status 1.\" >&2"
# A disk on which an environment has left a file called "full" takes no more.
_HEAD = """\
if [ "$3" = /dev/zero ] && [ -e "$TMPDIR/venv/full" ]; then
  echo "head: write error: No space left on device" >&2; exit 1
fi
exec /usr/bin/head "$@"
"""
_PIP_FAILS = """\
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho ERROR: no network >&2; echo bye >&2; exit 1' >"$3/bin/python"
chmod +x "$3/bin/python"
"""


def left_in(home: Path) -> list[str]:
    """Return what is in a machine's home folder and its temporary folder."""
    return [path.name for path in home.iterdir() if path.name != "tmp"] + [
        path.name for path in (home / "tmp").iterdir()
    ]


def test_leansight_is_brought_along_and_nothing_stays(
    homes: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    python = bare_python(tmp_path / "python3")
    words = [tiny_bundle, "--format", "onnx", "--on", "pi@far", "--remote-python", python]
    words += ["--install", "--json", "--runs", "2", "--most-seconds", "0"]
    done = CliRunner().invoke(command, [str(w) for w in words], catch_exceptions=False)
    assert "An environment is made on pi@far" in done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["on"], row["runs"]) == ("pi@far", 2)
    assert left_in(homes / "pi@far") == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'ensurepip is not available.' >&2; exit 1",
            r"makes no environments. Type there: sudo apt install python3-venv$",
        ),
        (f"{_ENSUREPIP_FAILS}; exit 1", r"makes no environment: Error: Command 'ensurepip' .*$"),
        (f'{_ENSUREPIP_FAILS}; mkdir "$3"; touch "$3/full"; exit 1', r"its disk is full: "),
        ("echo 'OSError: [Errno 28] No space left on device' >&2; exit 1", r"its disk is full: "),
        ("echo 'out of luck' >&2; exit 1", r"makes no environment: out of luck$"),
        (
            _PIP_FAILS,
            r"pip there cannot install what is needed: ERROR: no network$",
        ),
    ],
)
def test_what_goes_wrong_there_is_one_line(
    homes: Path, tmp_path: Path, script: str, reason: str
) -> None:
    python = executable(tmp_path / "python3", script)
    executable(homes / "bin" / "head", _HEAD)
    wheel = pack_wheel(tmp_path)
    with (
        pytest.raises(RemoteError, match=rf"^pi@far: .*{reason}") as raised,
        machine_at("pi@far", str(python), wheel),
    ):
        pass
    assert "\n" not in str(raised.value)
    assert left_in(homes / "pi@far") == []
