import shutil
from pathlib import Path

import pytest
from tiny_models import stripes

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError
from leansight.runtime.service import last_good
from leansight.runtime.service.last_good import LastGoodBundle, copy_bundle
from leansight.runtime.stream.capture.health import Health
from leansight.runtime.stream.classified_stream import StreamResult
from leansight.runtime.stream.isolated_classifier import IsolatedClassifier


def test_a_copy_of_a_bundle_is_that_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    copy_bundle(Bundle.load(tiny_bundle), tmp_path / "good.zip")
    copy_bundle(Bundle.load(tmp_path / "good.zip"), tmp_path / "again.zip")
    assert Bundle.load(tmp_path / "again.zip").digest == Bundle.load(tiny_bundle).digest
    assert not list(tmp_path.glob(".*"))


def test_a_bundle_that_was_replaced_is_not_copied(tiny_bundle: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(tiny_bundle, tmp_path / "mine.bundle"))
    bundle = Bundle.load(mine)
    (mine / "bundle.json").write_text("{}")
    with pytest.raises(BundleError):
        copy_bundle(bundle, tmp_path / "good.zip")
    assert not (tmp_path / "good.zip").exists()


def test_a_bundle_is_good_after_some_time(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "good.zip"
    with IsolatedClassifier([tiny_bundle]) as classifier:
        picture = stripes("level")[..., None].repeat(3, axis=2)
        result = StreamResult(
            health=Health(state="running"),
            time_s=0,
            monotonic_s=0,
            prediction=classifier(picture),
        )
        keeper = LastGoodBundle(file, classifier)
        keeper.write(result)
        assert not file.exists()
        monkeypatch.setattr(last_good, "GOOD_AFTER_S", 0.0)
        keeper.write(result)
    assert Bundle.load(file).digest == Bundle.load(tiny_bundle).digest
    assert keeper.trouble == ""


def test_a_disk_that_takes_no_copy_is_a_trouble(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_good, "GOOD_AFTER_S", 0.0)
    with IsolatedClassifier([tiny_bundle]) as classifier:
        picture = stripes("level")[..., None].repeat(3, axis=2)
        keeper = LastGoodBundle(tmp_path / "missing" / "good.zip", classifier)
        keeper.write(
            StreamResult(
                health=Health(state="running"),
                time_s=0,
                monotonic_s=0,
                prediction=classifier(picture),
            )
        )
    assert "cannot be copied" in keeper.trouble
    assert "No such file" in keeper.trouble
