"""Does a bundle come from a hub of models as it was, by the commands that the documents show?"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
from command_line import invoke
from hostile.attacks import forge
from live.hub import Hub

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "fleet.md"
HF = Path(sys.executable).with_name("hf")
NEWER = "newer"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HF.exists(), reason="the command hf is not installed: huggingface_hub"),
]


def shown() -> tuple[list[str], list[str], list[str]]:
    """Return the words of the three commands on the page: upload, download, install."""
    block = re.search(r"```text\n(hf upload .*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    upload, download, install = (shlex.split(line) for line in block[1].splitlines())
    return upload, download, install


def hf(words: list[str], folder: Path, hub: Hub) -> "subprocess.CompletedProcess[str]":
    home = {"HF_HOME": str(folder / "home"), "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_none"}
    return subprocess.run(
        [str(HF), *words[1:]], cwd=folder, capture_output=True, text=True, check=False,
        timeout=300, env={**os.environ, **home, "HF_HUB_DISABLE_TELEMETRY": "1"},
    )  # fmt: skip


Commands = tuple[list[str], list[str], list[str]]


@pytest.fixture
def commands(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Upload, download and install as the page shows them, and the bundle that they name."""
    monkeypatch.chdir(tmp_path)
    upload, download, install = shown()
    shutil.copytree(tiny_models.golden_bundle(tiny_bundle), tmp_path / upload[3])
    return upload, download, install


def test_a_commit_of_the_hub_is_the_bundle_and_is_installed(
    commands: Commands, tmp_path: Path
) -> None:
    (upload, download, install), mine = commands, tmp_path / commands[0][3]
    wanted = Bundle.load(mine).digest
    with Hub(upload[2]) as hub:
        assert hf(upload, tmp_path, hub).returncode == 0
        commit = hub.head
        forge(mine, lambda values: values.update(name=NEWER))
        assert hf(upload, tmp_path, hub).returncode == 0  # the branch goes on
        shutil.rmtree(mine)
        at = download.index("--revision") + 1
        done = hf([*download[:at], commit, *download[at + 1 :]], tmp_path, hub)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in mine.iterdir()} > {"bundle.json", ".cache"}
    done_here = invoke(*install[1:])
    assert done_here.exit_code == 0, done_here.output
    installed = Bundle.load(tmp_path / "signs" / "current")
    assert installed.digest == wanted
    assert set(hub.commits[commit]) == {path.name for path in installed.path.iterdir()}


def test_a_file_that_was_changed_on_the_hub_is_not_installed(
    commands: Commands, tmp_path: Path
) -> None:
    (upload, download, install), mine = commands, tmp_path / commands[0][3]
    with Hub(upload[2]) as hub:
        assert hf(upload, tmp_path, hub).returncode == 0
        hub.commits[hub.head]["model.tflite"] = b"another network"
        shutil.rmtree(mine)
        at = download.index("--revision") + 1
        assert hf([*download[:at], hub.head, *download[at + 1 :]], tmp_path, hub).returncode == 0
    refused = invoke(*install[1:])
    assert isinstance(refused.exception, BundleError)
    assert "model.tflite is damaged" in str(refused.exception)
