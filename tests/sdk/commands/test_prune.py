"""`leansight prune` reads amounts with their units and refuses what makes no sense."""

from collections.abc import Callable
from pathlib import Path

import pytest
import shapes
from command_line import invoke
from tiny_run import untrained_run

from leansight.runtime.errors import DataError
from leansight.sdk.pruning.prune import ASKED, PRUNED
from leansight.sdk.pruning.prune import LOCK as PRUNING_LOCK
from leansight.sdk.pruning.target import Kind, PruningTarget
from leansight.sdk.runs.run import LOCK, Run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say how small: one of --share"),
        (["--share", 0.5, "--macs", "1M"], "say how small: one of --share"),
        (["--share", 0.5, "--on", "pi@board"], "a machine is for the latency"),
        (["--share", 0.5, "--data", "nowhere"], "--data nowhere does not exist"),
    ],
)
def test_what_is_asked_for_must_make_sense(
    options: list[object], message: str, tmp_path: Path
) -> None:
    done = invoke("prune", tmp_path, *options, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert message in str(done.exception)


@pytest.mark.parametrize(
    ("option", "amount", "expected"),
    [
        *(
            ("--macs", amount, "60M")
            for amount in ("60X", "M", "-5K", "0", "1ms", "nanM", "1.2.3M")
        ),
        *(("--size", amount, "200KB") for amount in ("200", "200M", "1.5")),
        *(("--latency", amount, "1.0ms") for amount in ("1s", "1M")),
        *(("--share", amount, "0.5 or 50%") for amount in ("50", "1", "100%", "0%", "half")),
    ],
)
def test_an_amount_that_is_none_is_refused(
    option: str, amount: str, expected: str, tmp_path: Path
) -> None:
    done = invoke("prune", tmp_path, option, amount, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert f"{amount!r} is not an amount such as {expected}" in done.output


@pytest.fixture
def asked(
    untrained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[PruningTarget]]:
    """Prune with these options; return the targets that reach the pruning, which does nothing."""

    def prune_with(*options: object) -> list[PruningTarget]:
        targets: list[PruningTarget] = []

        def prune_run(path: Path, *, target: PruningTarget, **_: object) -> Run:
            targets.append(target)
            return Run.load(path)

        monkeypatch.setattr("leansight.sdk.pruning.prune.prune_run", prune_run)
        done = invoke("prune", untrained.path, *options, "--out", tmp_path / "out")
        assert done.exit_code == 0, (done.output, done.exception)
        return targets

    return prune_with


@pytest.mark.parametrize(
    ("option", "amount", "kind", "value"),
    [
        ("--share", "50%", "share", 0.5),
        ("--share", "0.5", "share", 0.5),
        ("--global-share", "25 %", "global share", 0.25),
        ("--macs", "12k", "macs", 12e3),
        ("--macs", "5000", "macs", 5000),
        ("--size", "1.5MB", "size", 1.5e6),
        ("--latency", "2ms", "latency", 2),
        ("--latency", "0.5", "latency", 0.5),
    ],
)
def test_amounts_are_read_with_their_units(
    asked: Callable[..., list[PruningTarget]], option: str, amount: str, kind: Kind, value: float
) -> None:
    assert asked(option, amount) == [PruningTarget(kind=kind, value=value)]


@pytest.fixture
def untrained(tmp_path: Path) -> Run:
    """A run as on disk after a training, which has not taken place."""
    return untrained_run(tmp_path, shapes.RECIPE)


# In a training Lightning takes it, and exits.
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)])
def test_ctrl_c_ends_in_one_line_that_says_how_to_go_on(
    stop: BaseException, untrained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prune_run(*_: object, **__: object) -> Run:
        raise stop

    monkeypatch.setattr("leansight.sdk.pruning.prune.prune_run", prune_run)
    done = invoke("prune", untrained.path, "--share", 0.5, "--out", tmp_path / "out")
    assert done.exit_code == 130
    assert done.output == "stopped: give the same command again to go on where it was\n"


def test_what_an_interrupted_call_has_left_is_no_hindrance(
    asked: Callable[..., list[PruningTarget]], tmp_path: Path
) -> None:
    (tmp_path / "out" / "step-1").mkdir(parents=True)
    lists = ("train.csv", "validation.csv")
    for name in (LOCK, PRUNING_LOCK, PRUNED, f".{PRUNED}.part", f".{ASKED}.part", *lists):
        (tmp_path / "out" / name).touch()
    assert len(asked("--share", 0.5, "--steps", 2)) == 1
