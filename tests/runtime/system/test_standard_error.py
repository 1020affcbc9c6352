import os
import threading
from collections.abc import Callable

import pytest

from leansight.runtime.system.standard_error import drop_lines


def is_log(line: bytes) -> bool:
    return line.startswith(b"INFO: ")


def test_only_the_lines_of_a_log_are_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with drop_lines(is_log):
        os.write(2, b"INFO: a delegate was created\nthe disk is full\n")
        os.write(2, b"INFO: again\nwithout an end")
    os.write(2, b"; after")
    assert capfd.readouterr().err == "the disk is full\nwithout an end; after"


def test_what_was_written_before_an_error_appears(capfd: pytest.CaptureFixture[str]) -> None:
    def load() -> None:
        os.write(2, b"a reason\n")
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"), drop_lines(is_log):
        load()
    os.write(2, b"INFO: of the caller's own\n")
    assert capfd.readouterr().err == "a reason\nINFO: of the caller's own\n"


def test_two_threads_that_load_at_once_leave_standard_error_as_it_was(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def load() -> None:
        for _ in range(200):
            with drop_lines(is_log):
                os.write(2, b"INFO: loaded\n")

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"


def fails(*_: object) -> int:
    raise OSError("none")


@pytest.mark.parametrize("missing", ["os.fstat", "tempfile.TemporaryFile"])
def test_without_standard_error_or_room_for_a_file_nothing_is_redirected(
    missing: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    failing: Callable[..., int] = fails
    with monkeypatch.context() as patch:
        patch.setattr(missing, failing)
        with drop_lines(is_log):
            os.write(2, b"INFO: seen\n")
    assert capfd.readouterr().err == "INFO: seen\n"
