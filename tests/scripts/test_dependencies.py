"""What users must not get is refused, and the lock of CI is that of setup.cfg."""

import importlib.util
import json
import sys
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dependencies() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / "scripts/dependencies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Package:
    """A package as importlib.metadata has it."""

    def __init__(self, *fields: tuple[str, str]) -> None:
        self.metadata, self.version, self.requires = Message(), "1.0", None
        for name, value in fields:
            self.metadata[name] = value


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("License-Expression", "Apache-2.0", True),
        ("License-Expression", "Apache-2.0 AND MIT", True),
        ("License-Expression", "BSD-3-Clause OR GPL-2.0-only", True),
        ("License-Expression", "MPL-2.0", True),
        ("License", "3-Clause BSD License", True),
        ("Classifier", "License :: OSI Approved :: MIT License", True),
        ("License-Expression", "GPL-3.0-or-later", False),
        ("License-Expression", "MIT AND AGPL-3.0-only", False),
        ("License-Expression", "EPL-2.0 OR GPL-2.0-or-later", False),
        ("Classifier", "License :: OSI Approved :: GNU Affero General Public License v3", False),
        ("License", "Proprietary", False),
        ("Summary", "says nothing of a licence: MIT", False),
    ],
)
def test_a_licence_reaches_users_if_it_is_on_the_list(
    dependencies: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    value: str,
    *,
    allowed: bool,
) -> None:
    monkeypatch.setattr(dependencies, "installed", lambda _: Package((field, value)))
    assert (dependencies.licence_fault("a-package") is None) == allowed


def test_a_package_of_two_licences_needs_both(
    dependencies: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ("License", "MIT"), ("Classifier", "License :: OSI Approved :: GNU GPL v3")
    monkeypatch.setattr(dependencies, "installed", lambda _: Package(*said))
    assert "not on the list" in dependencies.licence_fault("a-package")


def test_what_users_get_is_what_extras_bring(dependencies: ModuleType) -> None:
    found = dependencies.closure(dependencies.setup_requirements())
    assert {"", "pi", "train", "all"} <= found["numpy"]
    assert "torch" in found and "pi" not in found["torch"]  # noqa: PT018 -- one thought
    assert not {"pytest", "asyncssh", "atheris"} & set(found)


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info[:2] != (3, 11), reason="the lock is of another one"
)
def test_the_lock_is_that_of_setup_cfg(dependencies: ModuleType) -> None:
    lock = dependencies.LOCK.read_text()
    asked = dependencies.setup_requirements()
    assert dependencies.misfits(lock, asked) == []
    older = lock.replace("\nnumpy==", "\nnumpy==0.")
    assert {line.split()[0] for line in dependencies.misfits(older, asked)} == {"numpy>=1.23"}
    assert "://" not in lock


def test_a_lock_is_made_of_what_pip_would_install(dependencies: ModuleType) -> None:
    def entry(name: str) -> dict[str, object]:
        archive = {"archive_info": {"hashes": {"sha256": "ab"}}}
        return {"metadata": {"name": name, "version": "2"}, "download_info": archive}

    own = {"metadata": {"name": "leansight", "version": "1"}, "download_info": {"dir_info": {}}}
    lines = dependencies.lines_of({"install": [entry("Z_a"), own, entry("b")]})
    assert lines == ["b==2 --hash=sha256:ab\n", "z-a==2 --hash=sha256:ab\n"]


def test_components_are_those_of_users(dependencies: ModuleType) -> None:
    listed: dict[str, Any] = {
        "metadata": {},
        "components": [
            {"name": name, "bom-ref": name} for name in ("leansight", "numpy", "pytest")
        ],
        "dependencies": [
            {"ref": "leansight", "dependsOn": ["numpy", "pytest"]},
            {"ref": "numpy"},
            {"ref": "pytest", "dependsOn": ["numpy"]},
        ],
    }
    places = [{"url": "file:///home/somebody/leansight"}, {"url": "https://site"}]
    listed["components"][0]["externalReferences"] = places
    found = dependencies.only(json.loads(json.dumps(listed)), {"numpy": {"", "pi"}})
    assert found["metadata"]["component"]["name"] == "leansight"
    assert found["metadata"]["component"]["externalReferences"] == [{"url": "https://site"}]
    (numpy,) = found["components"]
    assert [each["value"] for each in numpy["properties"]] == ["", "pi"]
    assert found["dependencies"] == [{"ref": "leansight", "dependsOn": ["numpy"]}, {"ref": "numpy"}]


def test_audit_says_that_it_reached_no_database(
    dependencies: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dependencies, "_audited", lambda _: [])
    dependencies.audit()
    assert "not reached" in capsys.readouterr().out
    known = [{"name": "numpy", "version": "1", "vulns": [{"id": "CVE-1"}]}]
    monkeypatch.setattr(dependencies, "_audited", lambda _: known)
    with pytest.raises(SystemExit):
        dependencies.audit()
    assert "numpy 1: ['CVE-1']" in capsys.readouterr().err
