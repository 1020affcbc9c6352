import io

import pytest
from doubles.stream_results import event, seen, unlabelled

from leansight.runtime.service.screen.status_line import StatusLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_screen(text: str) -> list[str]:
    """Return the lines that a terminal shows after this text."""
    return [line.rpartition("\x1b[K")[2].rstrip("\r") for line in text.split("\n")]


def test_a_terminal_shows_one_line_that_is_the_newest() -> None:
    terminal = Terminal()
    status = StatusLine(terminal)
    for number in range(100):
        status.write(seen("stop" if number < 90 else "yield", at_s=number / 25))
    status.close()
    assert on_screen(terminal.getvalue()) == ["yield 98 %   running   25.0 frames/s", ""]
    assert terminal.getvalue().count("\x1b[K") < 45  # ten times a second, and once at the end


def test_a_terminal_shows_a_new_state_at_once() -> None:
    terminal = Terminal()
    status = StatusLine(terminal)
    status.write(seen(at_s=1))
    status.write(unlabelled("stale", "no frame for 2 s", at_s=1.01))
    assert on_screen(terminal.getvalue()) == ["stale: no frame for 2 s"]


def test_a_line_is_never_longer_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    StatusLine(terminal).write(unlabelled("stale", "no frame for 2 s, and more of it"))
    assert on_screen(terminal.getvalue()) == ["stale: no frame for"]


def test_a_journal_gets_lines_of_changes_alone() -> None:
    journal = io.StringIO()
    status = StatusLine(journal)
    for number in range(200):
        status.write(seen("stop", at_s=number / 25, events=(event(),) if number == 5 else ()))
    status.write(seen(None, at_s=9, events=(event(end_s=1002.4),)))
    status.write(unlabelled("stale", "no frame for 2 s", at_s=11))
    status.close()
    assert journal.getvalue().splitlines() == [
        "running",
        "stop begins",
        "stop ends: 2.4 s, at best 98 %",
        "stale: no frame for 2 s",
    ]
