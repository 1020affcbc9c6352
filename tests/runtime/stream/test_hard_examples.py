"""Frames in doubt, stored in a bounded folder."""

import dataclasses
import errno
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from live.results import change, prediction, result
from streams import number_of

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import LeansightError
from leansight.runtime.stream.hard_example_folder import HardExampleFolder
from leansight.runtime.stream.hard_examples import HardExampleLimits, HardExamples, doubt_of

EACH = HardExampleLimits(interval_s=0)
_HOUR_S = 3600


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.load(tiny_bundle)


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"))


def record_of(picture: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads(picture.with_suffix(".json").read_text())
    return record


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# What is chosen


@pytest.mark.parametrize(
    ("label", "score", "second", "is_stored"),
    [
        (None, 0.4, 0.1, True),  # not sure, with a clear lead
        ("stop", 0.55, 0.40, True),  # a lead of 0.15
        ("stop", 0.60, 0.35, False),  # of 0.25
        ("stop", 0.99, 0.0, False),
    ],
)
def test_what_was_not_sure_or_narrow_is_stored(
    tmp_path: Path,
    bundle: Bundle,
    label: str | None,
    score: float,
    second: float,
    is_stored: object,
) -> None:
    examples = HardExamples(tmp_path, bundle, EACH)
    examples.write(result(5, label, score, second))
    examples.close()
    assert len(pictures(tmp_path)) == examples.stored == int(bool(is_stored))


def test_a_stored_picture_has_its_scores_its_time_and_its_bundle(
    tmp_path: Path, bundle: Bundle
) -> None:
    seen = result(9, None, 0.5, 0.3)
    examples = HardExamples(tmp_path, bundle, EACH)
    examples.write(seen)
    examples.close()
    (picture,) = pictures(tmp_path)
    assert number_of(cv2.imread(str(picture))) == 9
    assert record_of(picture) == {
        "time": seen.time_s,
        "bundle": "tiny",
        "digest": bundle.digest,
        **prediction(None, 0.5, 0.3).to_dict(),
        "top": [["stop", 0.5], ["yield", 0.3], ["children", 0.01]],
        "doubt": 0.8,
    }
    labels = json.loads((tmp_path / f"bundle-{bundle.digest[:12]}.json").read_text())
    assert labels["labels"] == list(bundle.labels)
    assert labels["task"] == "classification"
    hour, milliseconds = picture.stem.split("_")
    assert int(hour) * _HOUR_S + int(milliseconds) / 1000 == pytest.approx(seen.time_s, abs=0.001)


def test_at_most_one_is_stored_in_an_interval(tmp_path: Path, bundle: Bundle) -> None:
    examples = HardExamples(tmp_path, bundle, HardExampleLimits(interval_s=5))
    for number in range(100):  # ten a second
        seen = result(number, None, 0.4)
        examples.write(dataclasses.replace(seen, monotonic_s=1000 + number / 10))
        time.sleep(0.002)
    examples.close()
    assert examples.stored + examples.dropped == 2
    assert examples.dropped == 0


def test_what_has_no_prediction_is_not_stored(tmp_path: Path, bundle: Bundle) -> None:
    examples = HardExamples(tmp_path, bundle, EACH)
    examples.write(change("stale", "no frame"))
    examples.write(dataclasses.replace(result(0, None), prediction=None))
    examples.close()
    assert pictures(tmp_path) == []


def test_the_doubt_of_many_labels_is_that_of_the_most_undecided_one() -> None:
    many = dataclasses.replace(prediction("stop", 0.99, 0.6), task="multilabel")
    assert doubt_of(many) == pytest.approx(0.8)
    assert doubt_of(prediction("stop", 0.7, 0.2)) == pytest.approx(0.5)


# The bounds of the folder


def add(folder: HardExampleFolder, doubt: float, time_s: float, size: int = 1000) -> bool:
    return folder.add(b"\xff" * size, {"label": None}, doubt=doubt, time_s=time_s)


def doubts(path: Path) -> list[object]:
    return sorted(record_of(picture)["doubt"] for picture in pictures(path))  # type: ignore[type-var]


def test_of_too_many_those_of_the_least_doubt_are_removed(tmp_path: Path) -> None:
    folder = HardExampleFolder(tmp_path, most_bytes=4500, most_days=30)
    for number, doubt in enumerate([0.5, 0.9, 0.3, 0.7, 0.6]):
        assert add(folder, doubt, 1e9 + number)
        assert folder.size_bytes <= 4500
    assert doubts(tmp_path) == [0.5, 0.6, 0.7, 0.9]
    assert not add(folder, 0.4, 1e9 + 9)  # less in doubt than all
    assert add(folder, 0.5, 1e9 + 10)  # of equal ones the older goes
    assert doubts(tmp_path) == [0.5, 0.6, 0.7, 0.9]
    assert pictures(tmp_path)[-1].stem.endswith("10000")
    on_disk = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert on_disk == folder.size_bytes


def test_what_is_too_old_is_removed(tmp_path: Path) -> None:
    folder = HardExampleFolder(tmp_path, most_bytes=10**6, most_days=2)
    day_s = 24 * _HOUR_S
    for day in range(3):
        add(folder, 0.9, 1e9 + day * day_s)
    add(folder, 0.1, 1e9 + 3.5 * day_s)
    assert len(pictures(tmp_path)) == 2
    assert doubts(tmp_path) == [0.1, 0.9]


def test_a_clock_that_leaps_ahead_does_not_empty_the_folder(tmp_path: Path) -> None:
    folder = HardExampleFolder(tmp_path, most_bytes=10**6, most_days=30)
    for number in range(20):
        add(folder, 0.9, 1e9 + number)
    add(folder, 0.9, 4e9)
    assert len(pictures(tmp_path)) == 19


def test_a_clock_that_stands_or_goes_back_overwrites_nothing(tmp_path: Path) -> None:
    folder = HardExampleFolder(tmp_path, most_bytes=10**6, most_days=30)
    for _ in range(3):
        add(folder, 0.9, 1e9)
    assert len(pictures(tmp_path)) == 3


def test_what_was_there_before_counts(tmp_path: Path) -> None:
    before = HardExampleFolder(tmp_path, most_bytes=10**6, most_days=30)
    for number, doubt in enumerate([0.2, 0.8, 0.4]):
        add(before, doubt, 1e9 + number)
    again = HardExampleFolder(tmp_path, most_bytes=2500, most_days=30)
    assert doubts(tmp_path) == [0.4, 0.8]
    add(again, 0.6, 1e9 + 5)
    assert doubts(tmp_path) == [0.6, 0.8]


def test_pictures_that_somebody_took_away_make_room(tmp_path: Path) -> None:
    folder = HardExampleFolder(tmp_path, most_bytes=3500, most_days=30)
    for number in range(3):
        add(folder, 0.9, 1e9 + number)
    for picture in pictures(tmp_path)[:2]:
        picture.unlink()
    assert add(folder, 0.1, 1e9 + 9)
    assert add(folder, 0.1, 1e9 + 10)
    assert len(pictures(tmp_path)) == 3


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    whole = HardExampleFolder(tmp_path, most_bytes=10**6, most_days=30)
    add(whole, 0.9, 1e9)
    (tmp_path / ".277777_0000001.jpg.part").write_bytes(b"half")
    (tmp_path / "277777_0000002.json").write_text("{}")
    (tmp_path / "277777_0000003.jpg").write_bytes(b"no record")
    (tmp_path / "bundle-0123.json").write_text("{}")
    HardExampleFolder(tmp_path, most_bytes=10**6, most_days=30)
    names = {file.name for file in tmp_path.iterdir()}
    (first,) = (name for name in names if name.endswith(".json") and name[0] == "2")
    assert names == {
        *(first, first.replace("json", "jpg")),
        *("277777_0000003.jpg", "bundle-0123.json"),
    }


# Disks that are full, gone or slow


def test_the_stream_goes_on_while_the_disk_is_full_and_storing_resumes(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, is_full = os.fsync, threading.Event()

    def fsync(descriptor: int) -> None:
        if is_full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    examples = HardExamples(tmp_path, bundle, EACH)
    monkeypatch.setattr(os, "fsync", fsync)
    examples.write(result(0, None))
    wait_until(lambda: examples.stored == 1)
    is_full.set()
    examples.write(result(1, None))
    wait_until(lambda: examples.trouble == "no space left on device")
    assert (
        sum(file.is_file() for file in tmp_path.iterdir()) == 3
    )  # one picture, its record, the bundle's
    is_full.clear()
    examples.write(result(2, None))
    wait_until(lambda: not examples.trouble)
    examples.close()
    assert (examples.stored, examples.dropped) == (2, 1)


def test_a_slow_disk_does_not_stall_the_stream(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    examples = HardExamples(tmp_path, bundle, EACH)
    monkeypatch.setattr(os, "fsync", lambda _: release.wait())
    for number in range(50):
        examples.write(result(number, None))  # would wait for ever
    assert examples.dropped >= 47
    assert examples.trouble == f"the disk is too slow: {examples.dropped} pictures were dropped"
    examples.close()
    release.set()


def test_closing_does_not_wait_for_a_disk_that_hangs(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, release = threading.Event(), threading.Event()
    examples = HardExamples(tmp_path, bundle, EACH)
    monkeypatch.setattr(os, "fsync", lambda _: (hanging.set(), release.wait()))
    for number in range(5):
        examples.write(result(number, None))
    assert hanging.wait(60)
    begin_s = time.monotonic()
    examples.close()
    assert time.monotonic() - begin_s < 3
    release.set()


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LeansightError, match=r"file/hard cannot be written: not a directory") as e:
        HardExamples(tmp_path / "file" / "hard", bundle)
    assert e.value.parameter == "hard_examples"


@pytest.mark.parametrize(
    "wrong", [{"margin": 1.5}, {"interval_s": -1}, {"most_bytes": 0}, {"most_days": 0}]
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        HardExampleLimits(**wrong)  # type: ignore[arg-type]
