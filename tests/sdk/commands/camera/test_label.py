"""`leansight label`: from a folder of hard examples to data for a training."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import MAIN, invoke
from live.doubtful import hard_examples
from live.visitors import ask


@contextmanager
def labelling(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `leansight label`; give the process and the address that it tells."""
    command = [sys.executable, "-c", MAIN, "label", *map(str, arguments), "--web", "127.0.0.1:0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stderr
            yield process, process.stderr.readline().rsplit(maxsplit=1)[1]
        finally:
            process.kill()


def give(url: str, label: str | None) -> None:
    name = ask(url, "/state.json").json["name"]
    assert ask(url, "/label", method="POST", body={"name": name, "label": label}).status == 200


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_what_was_labelled_is_data_for_a_training(tmp_path: Path, end: signal.Signals) -> None:
    hard, labelled = tmp_path / "hard", tmp_path / "labelled"
    hard_examples(hard, [0.9 - number / 100 for number in range(12)])
    with labelling(hard, "--out", labelled) as (process, url):
        for number in range(10):
            give(url, ("stop", "yield")[number % 2] if number else None)
        process.send_signal(end)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == f"9 labelled in {labelled}, 1 none of these, 0 skipped, 2 left\n"
    stats = invoke("data", "stats", labelled)
    assert stats.exit_code == 0, stats.output
    rows = [line.split()[:3] for line in stats.stdout.splitlines() if line.strip()]
    assert ["stop", "4", "1"] in rows  # of one hour, which counts as one video
    assert ["yield", "5", "1"] in rows
    assert ["all", "9", "2"] in rows
    assert "none-of-these" not in stats.stdout


def test_a_kill_leaves_what_was_labelled_and_the_rest(tmp_path: Path) -> None:
    hard, labelled = tmp_path / "hard", tmp_path / "labelled"
    names = hard_examples(hard, [0.9, 0.8])
    with labelling(hard, "--out", labelled) as (process, url):
        give(url, "stop")
        process.kill()
    with labelling(hard, "--out", labelled) as (_, url):
        state = ask(url, "/state.json").json
        assert (state["name"], state["left"]) == (names[1], 1)
        give(url, "stop")
    assert {path.stem for path in labelled.glob("stop/*.jpg")} == set(names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent", "--out", "labelled"), "absent is not a folder"),
        ((".", "--out", "labelled"), ". is no folder of hard examples"),
    ],
)
def test_a_folder_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("label", *arguments)
    assert done.exit_code == 1
    assert message in str(done.exception)
