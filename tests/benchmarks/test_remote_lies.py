"""A far side that lies, or has no end of words, is given up in one line."""

import json
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest
from doubles.far_machine import executable, ssh_to_here
from hostile.cost import cost_of

from leansight.benchmarks.probes.conditions import read_facts
from leansight.benchmarks.remote import machine_at

GREETING = {
    "leansight": version("leansight"),
    "machine": "a board",
    "empty_bytes": None,
    "facts": read_facts().to_dict(),
}


def says(words: object) -> str:
    """Return the line of a shell that says an answer."""
    return f"printf '%s\\n' {shlex.quote(json.dumps(words))}"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("yes", "y"),
        ("cat /dev/zero", ""),
        (says(GREETING | {"facts": []}), "{"),
        (says(GREETING | {"facts": {"features": []}}), "{"),
        (f"head -c 50000 /dev/zero | tr '\\0' '['; echo; {says(GREETING)}; read x; echo ]", "]"),
        (f"{says(GREETING)}; read x; {says([])}", "[]"),
        (f"{says(GREETING)}; read x; {says({'time': 1})}", "{"),
        (f"{says(GREETING)}; read x; head -c 50000 /dev/zero | tr '\\0' '['; echo", "[["),
        (f"{says(GREETING)}; read x; cat /dev/zero", ""),
    ],
)
def test_a_far_side_that_lies_is_given_up_in_one_line(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh_to_here(monkeypatch, tmp_path)
    python = executable(tmp_path / "python", script)

    def connect() -> None:
        with machine_at("pi@far", str(python)) as machine:
            machine.state()

    cost = cost_of(connect)
    assert cost.error == "RemoteError"
    assert cost.text.startswith(f"pi@far says what leansight does not say: {said}")
    assert len(cost.text) < 200
    assert len(cost.text.splitlines()) == 1
    assert cost.megabytes < 64
