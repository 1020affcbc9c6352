import errno
import json
import os
import re
from pathlib import Path

import cv2
import pytest
from live.doubtful import LABELS, files_below, hard_examples
from streams import number_of

from leansight.runtime.errors import DataError
from leansight.runtime.stream.hard_example_folder import HardExampleFolder
from leansight.sdk.labelling import session as module
from leansight.sdk.labelling.session import LabellingSession

DOUBTS = [0.6, 0.9, 0.7]
PAIR = {".jpg", ".json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "hard"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "labelled"


def shown(session: LabellingSession) -> int | None:
    """Return the number that the current picture shows."""
    return session.current and number_of(cv2.imread(str(session.current.picture)))


def test_the_biggest_doubt_comes_first(folder: Path, out: Path) -> None:
    hard_examples(folder, DOUBTS)
    session = LabellingSession(folder, out)
    order = []
    while (number := shown(session)) is not None:
        order.append(number)
        session.skip()
    assert order == [1, 2, 0]
    assert (session.done, session.left) == (3, 0)


def test_a_label_moves_the_picture_to_its_class_folder(folder: Path, out: Path) -> None:
    names = hard_examples(folder, DOUBTS)
    session = LabellingSession(folder, out)
    session.label("children")
    session.label("stop")
    session.label(None)
    assert files_below(out) == {f"children/{names[1]}.jpg", f"stop/{names[2]}.jpg"}
    assert number_of(cv2.imread(str(out / "children" / f"{names[1]}.jpg"))) == 1
    assert files_below(folder) == {
        *("bundle-d1.json", f"none-of-these/{names[0]}.jpg"),
        *(f"records/{name}.json" for name in names),
    }
    record = json.loads((folder / "records" / f"{names[1]}.json").read_text())
    assert (record["labelled"], record["label"], record["doubt"]) == ("children", None, 0.9)
    assert session.summary == f"2 labelled in {out}, 1 none of these, 0 skipped, 0 left"


def test_undoing_step_by_step_leads_back_to_the_beginning(folder: Path, out: Path) -> None:
    hard_examples(folder, DOUBTS)
    before = {name: (folder / name).read_bytes() for name in files_below(folder)}
    session = LabellingSession(folder, out)
    session.label("stop")
    session.skip()
    session.label(None)
    assert session.current is None
    for number in (0, 2, 1):
        session.undo()
        assert shown(session) == number
    with pytest.raises(DataError, match="nothing to undo"):
        session.undo()
    assert {name: (folder / name).read_bytes() for name in files_below(folder)} == before
    assert files_below(out) == set()
    assert list(out.iterdir()) == []


def test_choices_are_the_bundles_then_those_given_lately(folder: Path, out: Path) -> None:
    hard_examples(folder, [0.9, 0.8, 0.7, 0.6])
    session = LabellingSession(folder, out)
    assert session.choices == [("stop", 0.5), ("yield", pytest.approx(0.4)), ("roundabout", 0.01)]
    session.label("cyclists")
    session.label("children")
    assert [label for label, _ in session.choices] == ["children", "stop", "roundabout", "cyclists"]
    session.label(None)
    assert [label for label, _ in session.choices] == [
        *("stop", "yield", "roundabout"),
        *("children", "cyclists"),
    ]


def test_two_pictures_of_one_name_are_both_there(folder: Path, out: Path) -> None:
    (name,) = hard_examples(folder, [0.9])
    (out / "stop").mkdir(parents=True)
    (out / "stop" / f"{name}.jpg").write_bytes(b"of another camera")
    session = LabellingSession(folder, out)
    session.label("stop")
    assert (out / "stop" / f"{name}.jpg").read_bytes() == b"of another camera"
    (other,) = set(out.glob("stop/*")) - {out / "stop" / f"{name}.jpg"}
    assert number_of(cv2.imread(str(other))) == 0
    assert re.fullmatch(r"\d+_\d{7}", other.stem)
    session.undo()
    assert shown(session) == 0


def test_another_file_system_gets_a_whole_copy(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = hard_examples(folder, [0.9])
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    session = LabellingSession(folder, out)
    session.label("stop")
    assert files_below(out) == {f"stop/{name}.jpg"}
    assert not (folder / f"{name}.jpg").exists()


@pytest.mark.parametrize("at", ["write_whole", "move_whole", "unlink"])
def test_a_kill_at_any_moment_loses_nothing(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    hard_examples(folder, [0.9])

    class KillError(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise KillError

    session = LabellingSession(folder, out)
    with monkeypatch.context() as killing:
        killing.setattr(Path if at == "unlink" else module, at, kill)
        with pytest.raises(KillError):
            session.label("stop")
    again = LabellingSession(folder, out)
    assert {path.suffix for path in folder.glob("*_*")} == (set() if at == "unlink" else PAIR)
    HardExampleFolder(folder, most_bytes=10**9, most_days=1e6)  # as the stream finds it
    labelled = [number_of(cv2.imread(str(path))) for path in out.glob("stop/*.jpg")]
    assert labelled == ([0] if at == "unlink" else [])
    assert shown(again) == (None if at == "unlink" else 0)
    if again.current:
        again.label("yield")
        assert [path.parent.name for path in out.rglob("*.jpg")] == ["yield"]


def test_a_full_disk_leaves_the_picture_where_it_is(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hard_examples(folder, [0.9])
    session = LabellingSession(folder, out)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as filled:
        filled.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            session.label("stop")
    assert shown(session) == 0
    session.label("stop")
    assert session.left == 0


def test_pictures_that_the_stream_has_removed_are_passed_over(folder: Path, out: Path) -> None:
    names = hard_examples(folder, DOUBTS)
    session = LabellingSession(folder, out)
    for name in (names[1], names[2]):
        (folder / f"{name}.jpg").unlink()
    assert shown(session) == 0
    assert session.left == 1


def test_only_labels_of_the_bundle_are_given(folder: Path, out: Path) -> None:
    hard_examples(folder, [0.9], labels=(*LABELS, "a/b", "test", ".hidden"))
    session = LabellingSession(folder, out)
    with pytest.raises(DataError, match=r"'\.\./x' is no label of the bundle"):
        session.label("../x")
    for label in ("a/b", "test", ".hidden"):
        with pytest.raises(DataError, match="cannot be the name of a class folder"):
            session.label(label)
    assert shown(session) == 0
    assert files_below(out.parent) == files_below(folder.parent)


def test_a_picture_without_its_record_is_asked_about_first(folder: Path, out: Path) -> None:
    names = hard_examples(folder, [0.6, 0.7])
    (folder / f"{names[0]}.json").write_text("{damaged")
    session = LabellingSession(folder, out)
    assert (shown(session), session.choices) == (0, [])
    session.label("stop")
    assert shown(session) == 1


def test_a_folder_of_something_else_is_refused(folder: Path, out: Path) -> None:
    folder.mkdir()
    with pytest.raises(DataError, match="is no folder of hard examples"):
        LabellingSession(folder, out)
    hard_examples(folder, [0.9], task="multilabel")
    with pytest.raises(DataError, match="gives many labels"):
        LabellingSession(folder, out)
