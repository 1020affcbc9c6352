from pathlib import Path

import pytest

from leansight.runtime.system.user_cache import is_own, user_cache


def test_a_service_gets_the_folder_that_systemd_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/garden:/var/cache/other")
    assert user_cache() == Path("/var/cache/garden")


def test_a_user_gets_a_folder_below_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert user_cache() == Path.home() / ".cache" / "leansight"


def test_a_folder_is_ones_own_if_nobody_else_may_write_it(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    assert not is_own(folder)
    folder.mkdir(mode=0o700)
    link.symlink_to(folder)
    assert (is_own(folder), is_own(link)) == (True, False)
    folder.chmod(0o770)
    assert not is_own(folder)
