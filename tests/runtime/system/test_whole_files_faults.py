"""A full disk, a broken disk or a kill, at each system call by which something is written."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import faults
from hostile.cost import fork
from hostile.faults import Work, injections, run, writing_calls
from hostile.system_calls import needs_strace

from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.preprocessing import Preprocessing
from leansight.runtime.system.whole_files import write_whole

CONTENTS = {"model.tflite": b"a model", "model.onnx": b"another model"}


def make_bundle() -> None:
    draft = Bundle(
        path=Path("new.bundle"),
        name="new",
        labels=("a", "b"),
        preprocessing=Preprocessing(size=8),
        decision=DecisionPolicy(),
        precision="float32",
    )
    write_bundle(draft, CONTENTS)


def replace_file() -> None:
    write_whole(Path("old.json"), b"new")


def bundle_is_whole(work: Path) -> None:
    if (work / "new.bundle").exists():
        assert set(Bundle.load(work / "new.bundle").files) == set(CONTENTS)


def file_is_whole(work: Path) -> None:
    assert (work / "old.json").read_text() in ("old", "new")


def begin(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "old.json").write_text("old")


@needs_strace
@pytest.mark.parametrize(
    ("work", "is_whole"),
    [(make_bundle, bundle_is_whole), (replace_file, file_is_whole)],
    ids=["bundle", "file"],
)
def test_after_every_fault_the_old_or_the_new_is_whole_and_the_next_writes_it(
    work: Work, is_whole: Callable[[Path], None], tmp_path: Path
) -> None:
    place = tmp_path / "work"
    begin(place)
    unbroken = run(work, tmp_path)
    assert unbroken.code == 0, unbroken.said
    wanted = {path.name for path in place.rglob("*")}
    calls = writing_calls(unbroken.trace, place)
    assert {"openat", "write", "fsync", "rename"} <= {call.name for call in calls}
    for call, kind, inject in injections(calls):
        begin(place)
        run(work, tmp_path, inject=inject)
        is_whole(place)
        if not (place / "new.bundle").exists():
            again = run(work, tmp_path)
            assert again.code == 0, f"{call} {kind}: {again.said}"
        is_whole(place)
        assert {path.name for path in place.rglob("*")} == wanted, f"{call} {kind}"


@needs_strace
def test_what_outlives_a_command_counts_as_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_a_process() -> None:
        if fork() == 0:
            time.sleep(600)

    monkeypatch.setattr(faults, "OUTLIVED_S", 0.2)
    (tmp_path / "work").mkdir()
    end = run(begin_a_process, tmp_path)
    assert (end.code, end.is_plain) == (None, False)
