"""Does a stream decide the trial of its version when nobody else does, and only then?"""

import queue
import shutil
from pathlib import Path

import pytest
import tiny_models
from doubles.stream_results import seen, unlabelled
from hostile.attacks import forge

from leansight.runtime.bundle import Bundle
from leansight.runtime.installation.pending_trial import PendingTrial
from leansight.runtime.installation.versions import Installation
from leansight.runtime.service import stream_trial
from leansight.runtime.service.stream_trial import StreamTrial

PERIOD_S = 1.5
CRASHED = "the process of the model crashed"


class Stream:
    """What a stream gives its trial: how it is ended, and where lines for people go."""

    def __init__(self, installation: Installation) -> None:
        self.lines = queue.Queue[str]()
        self.codes = queue.Queue[int]()
        self._link = installation.link

    def trial(self) -> StreamTrial | None:
        return StreamTrial.of(self._link, end=self.codes.put, tell=self.lines.put)

    def begun(self) -> StreamTrial:
        trial = self.trial()
        assert trial is not None
        return trial


@pytest.fixture
def installation(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """Two versions, of which the second is on trial, in a service."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    old = tiny_models.golden_bundle(tiny_bundle)
    new = forge(shutil.copytree(old, tmp_path / "new"), lambda values: values.update(name="new"))
    installation = Installation(tmp_path / "signs")
    installation.install(Bundle.load(old))
    installation.install(Bundle.load(new), trial_s=PERIOD_S)
    return installation


@pytest.fixture
def stream(installation: Installation) -> Stream:
    return Stream(installation)


def test_a_version_that_gives_labels_stays(installation: Installation, stream: Stream) -> None:
    trial = stream.begun()
    trial.write(seen(None))  # "not sure" is an answer
    assert "version 2 has stood its trial" in stream.lines.get(timeout=20)
    assert installation.pending_trial() is None
    assert installation.current_number() == 2
    assert stream.codes.empty()


def test_a_version_that_gives_none_is_taken_back_and_the_stream_begun_anew(
    installation: Installation, stream: Stream
) -> None:
    trial = stream.begun()
    trial.write(seen())
    trial.write(unlabelled("degraded", CRASHED, image=seen().frame.image))
    assert stream.lines.get(timeout=20) == (
        f"version 2: degraded: {CRASHED}: version 1 is at work again"
    )
    assert stream.codes.get(timeout=20) == 1
    assert installation.current_number() == 1
    assert not (installation.folder / "trial.json").exists()


def test_a_stream_that_hangs_is_not_healthy(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_trial, "SILENCE_S", 0.1)
    stream.begun().write(seen())
    assert "version 2: no result for" in stream.lines.get(timeout=20)


def test_two_starts_without_a_decision_are_enough(
    installation: Installation, stream: Stream
) -> None:
    for _ in range(2):
        stream.begun().close()  # as a kill ends it
    assert stream.trial() is None
    line = "version 2 was started 2 times in vain: version 1 is at work again"
    assert stream.lines.get_nowait() == line
    assert stream.codes.empty()
    assert installation.current_number() == 1
    assert stream.trial() is None


def test_while_the_command_watches_it_decides_and_starts_are_not_counted(
    installation: Installation, stream: Stream
) -> None:
    with installation.alone():
        trials = [stream.begun() for _ in range(4)]
        assert PendingTrial.load(installation.folder) == PendingTrial(version=2, period_s=PERIOD_S)
        with pytest.raises(queue.Empty):
            stream.lines.get(timeout=2 * PERIOD_S)
        for trial in trials[1:]:
            trial.close()
    assert "version 1 is at work again" in stream.lines.get(timeout=20)  # now it was killed
    assert stream.codes.get(timeout=20) == 1


def test_without_a_version_to_go_back_to_the_new_one_stays(
    installation: Installation, stream: Stream
) -> None:
    shutil.rmtree(installation.folder / "versions" / "1")
    stream.begun()
    assert "and stays at work: " in stream.lines.get(timeout=20)
    assert installation.pending_trial() is None
    assert installation.current_number() == 2


def test_a_decision_that_somebody_else_has_made_holds(
    installation: Installation, stream: Stream
) -> None:
    stream.begun()
    installation.end_trial()
    with pytest.raises(queue.Empty):
        stream.lines.get(timeout=2 * PERIOD_S)
    assert installation.current_number() == 2


def test_a_stream_that_a_person_starts_decides_nothing(
    installation: Installation, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert stream.trial() is None
    assert PendingTrial.load(installation.folder) == PendingTrial(version=2, period_s=PERIOD_S)


def test_what_cannot_be_decided_is_told_and_the_stream_goes_on(
    installation: Installation, stream: Stream
) -> None:
    (installation.folder / "trial.json").write_text("{")
    assert stream.trial() is None
    assert "is not decided here: " in stream.lines.get_nowait()


def test_other_bundles_have_no_trial(
    installation: Installation, stream: Stream, tiny_bundle: Path
) -> None:
    installation.end_trial()
    assert stream.trial() is None
    assert StreamTrial.of(tiny_bundle, end=stream.codes.put, tell=stream.lines.put) is None
