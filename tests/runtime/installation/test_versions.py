"""Is there always a version at work, the new one only if it is sound, and a way back?"""

import json
import shutil
from pathlib import Path

import pytest
import tiny_models
from hostile.attacks import forge, golden

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError, DataError
from leansight.runtime.installation.versions import Installation


@pytest.fixture
def bundles(tiny_bundle: Path) -> list[Bundle]:
    """Bundles that differ by their names."""
    path = tiny_models.golden_bundle(tiny_bundle)
    copies = [shutil.copytree(path, path.with_name(f"{number}.bundle")) for number in range(5)]
    for copy in copies:
        forge(copy, lambda manifest, copy=copy: manifest.update(name=copy.stem))
    return [Bundle.load(copy) for copy in copies]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "signs")


def versions(installation: Installation) -> set[str]:
    return {path.name for path in (installation.folder / "versions").iterdir()}


def test_the_link_leads_to_what_was_installed_last(
    installation: Installation, bundles: list[Bundle]
) -> None:
    assert installation.current() is None
    for number, bundle in enumerate(bundles[:2], start=1):
        version = installation.install(bundle)
        assert (version.number, version.bundle.digest) == (number, bundle.digest)
        assert Bundle.load(installation.link).digest == bundle.digest
    assert installation.link.readlink() == Path("versions/2/bundle")
    assert json.loads((installation.folder / "versions/2/installed.json").read_text()) == {
        "previous": 1
    }


def test_what_is_at_work_already_is_not_copied_again(
    installation: Installation, bundles: list[Bundle]
) -> None:
    assert [installation.install(bundles[0]).number for _ in range(2)] == [1, 1]
    assert versions(installation) == {"1"}


def test_a_damaged_version_at_work_is_replaced_by_the_same_bundle(
    installation: Installation, bundles: list[Bundle]
) -> None:
    installation.install(bundles[0])
    (installation.link / "model.tflite").write_bytes(b"worn out")
    assert installation.install(bundles[0]).number == 2
    assert Bundle.load(installation.link).digest == bundles[0].digest


def test_a_zip_is_installed_as_a_folder(installation: Installation, bundles: list[Bundle]) -> None:
    packed = shutil.make_archive(str(bundles[0].path), "zip", bundles[0].path)
    assert installation.install(Bundle.load(packed)).bundle.path.is_dir()


def test_old_versions_are_removed_and_the_way_back_is_kept(
    installation: Installation, bundles: list[Bundle]
) -> None:
    for bundle in bundles:
        installation.install(bundle, keep=3)
    assert versions(installation) == {"3", "4", "5"}
    assert [installation.roll_back().number for _ in range(2)] == [4, 3]
    with pytest.raises(BundleError, match=r"signs keeps no version before the one at work$"):
        installation.roll_back()
    assert Bundle.load(installation.link).digest == bundles[2].digest


def test_there_is_a_way_back_from_a_damaged_version(
    installation: Installation, bundles: list[Bundle]
) -> None:
    installation.install(bundles[0])
    installation.install(bundles[1])
    (installation.link / "bundle.json").unlink()
    assert installation.roll_back().bundle.digest == bundles[0].digest


def test_after_a_way_back_the_version_that_was_left_is_not_kept(
    installation: Installation, bundles: list[Bundle]
) -> None:
    installation.install(bundles[0])
    installation.install(bundles[1])
    installation.roll_back()
    version = installation.install(bundles[2])
    assert (version.number, version.previous, versions(installation)) == (2, 1, {"1", "2"})
    assert Bundle.load(installation.link).digest == bundles[2].digest


def test_a_bundle_that_gives_something_else_here_is_not_put_to_work(
    installation: Installation, bundles: list[Bundle]
) -> None:
    installation.install(bundles[0])
    other = golden(lambda arrays: arrays["pixels"].__ixor__(1))(bundles[1].path)
    with pytest.raises(BundleError, match=r"is not put to work: .*\(\d+ different pixels, 0 diff"):
        installation.install(Bundle.load(other))
    assert Bundle.load(installation.link).digest == bundles[0].digest
    assert versions(installation) == {"1"}


def test_a_bundle_without_golden_photos_is_not_put_to_work(
    installation: Installation, tiny_bundle: Path
) -> None:
    with pytest.raises(BundleError, match=r"has no golden.npz: there is nothing to check it by"):
        installation.install(Bundle.load(tiny_bundle))
    assert installation.current() is None


def test_a_bundle_that_changes_on_the_way_is_refused(
    installation: Installation, bundles: list[Bundle]
) -> None:
    forge(bundles[0].path, lambda manifest: manifest.update(name="another"))
    with pytest.raises(BundleError, match="has been replaced since it was loaded"):
        installation.install(bundles[0])


def test_two_do_not_install_at_once(installation: Installation) -> None:
    with installation.alone(), pytest.raises(DataError, match="another process installs there"):
        installation.alone().__enter__()


def test_a_folder_that_somebody_has_put_there_is_left_alone(
    installation: Installation, bundles: list[Bundle]
) -> None:
    installation.link.mkdir(parents=True)
    with pytest.raises(DataError, match="current is no link that leansight has made"):
        installation.install(bundles[0])


def test_a_damaged_history_is_named(installation: Installation, bundles: list[Bundle]) -> None:
    installation.install(bundles[0])
    (installation.folder / "versions/1/installed.json").write_text("[]")
    with pytest.raises(DataError, match=r"installed.json is damaged"):
        installation.roll_back()


def test_a_version_is_on_trial_until_somebody_decides(
    installation: Installation, bundles: list[Bundle]
) -> None:
    installation.install(bundles[0])
    installation.install(bundles[1], trial_s=60)
    trial = installation.pending_trial()
    assert trial is not None
    assert (trial.version, trial.period_s, trial.starts) == (2, 60, 0)
    installation.end_trial()
    assert installation.pending_trial() is None
    assert installation.current_number() == 2


def test_the_way_back_ends_a_trial(installation: Installation, bundles: list[Bundle]) -> None:
    installation.install(bundles[0])
    installation.install(bundles[1], trial_s=60)
    installation.roll_back()
    assert not (installation.folder / "trial.json").exists()
    assert installation.current_number() == 1


@pytest.mark.parametrize("keep", [2, 3])
def test_what_nobody_has_decided_for_is_no_way_back(
    installation: Installation, bundles: list[Bundle], keep: int
) -> None:
    installation.install(bundles[0])
    installation.install(bundles[1], trial_s=60)
    assert installation.install(bundles[2], keep=keep, trial_s=60).previous == 1
    assert installation.roll_back().bundle.digest == bundles[0].digest


def test_the_first_version_is_the_way_back_also_on_trial(
    installation: Installation, bundles: list[Bundle]
) -> None:
    installation.install(bundles[0], trial_s=60)
    assert installation.install(bundles[1], trial_s=60).previous == 1


def test_a_record_that_a_kill_has_left_is_of_no_later_version_with_its_number(
    installation: Installation, bundles: list[Bundle]
) -> None:
    installation.install(bundles[0])
    installation.install(bundles[1], trial_s=60)
    record = (installation.folder / "trial.json").read_bytes()
    installation.roll_back()
    (installation.folder / "trial.json").write_bytes(record)  # killed before it was removed
    assert installation.pending_trial() is None
    assert installation.install(bundles[2]).number == 2
    assert installation.pending_trial() is None


def test_an_installation_is_known_by_its_link(
    installation: Installation, bundles: list[Bundle], tmp_path: Path
) -> None:
    installation.install(bundles[0])
    found = Installation.of_link(installation.link)
    assert found is not None
    assert found.folder == installation.folder
    (tmp_path / "current").symlink_to(bundles[0].path)
    for other in (bundles[0].path, tmp_path / "current", installation.folder, tmp_path / "no"):
        assert Installation.of_link(other) is None
