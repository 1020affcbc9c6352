"""The documentation site: it is built, and each of its checks finds its fault."""

import html
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from shown_commands import ROOT

from leansight import runtime
from leansight.sdk.commands.cli import leansight

pytest.importorskip("zensical", reason="pip install '.[docs]'")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_site = _module(ROOT / "docs/tools/check_site.py")


def build(checkout: Path, work: Path) -> subprocess.CompletedProcess[str]:
    """Build and check the site of a checkout in a folder, with this Python."""
    work.mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [checkout / "docs/tools/build", work],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this checkout."""
    work = tmp_path_factory.mktemp("docs") / "work"
    built = build(ROOT, work)
    assert built.returncode == 0, built.stderr
    return work / "site"


def text_of(page: Path) -> str:
    """Return what a reader sees of a page, its white space made even."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page.read_text())).split())


def test_every_page_is_in_the_navigation() -> None:
    navigation = re.findall(r'"([^"]+\.md)"', (ROOT / "zensical.toml").read_text())
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(navigation) == sorted(pages)


def test_the_reference_has_every_command_and_option(site: Path) -> None:
    page = text_of(site / "reference/command-line.html")
    for name, command in leansight.to_info_dict(click.Context(leansight))["commands"].items():
        assert f"leansight {name} [OPTIONS]" in page
        for parameter in command["params"]:
            missing = [o for o in parameter["opts"] if o.startswith("--") and o not in page]
            assert missing in ([], ["--help"])


def test_the_reference_has_the_public_names_and_their_docstrings(site: Path) -> None:
    page = site / "reference/runtime.html"
    for name in runtime.__all__:
        assert f'id="leansight.runtime.{name}"' in page.read_text()
    assert "Read a bundle and check every file it names." in text_of(page)


def test_the_recipe_page_has_fields_with_their_values_and_defaults(site: Path) -> None:
    page = text_of(site / "reference/recipe.html")
    assert "training.epochs a whole number; default 12" in page
    assert 'split.by one of "video", "image"; default "video"' in page
    assert 'change = "narrow-contrast"' in page


def test_a_broken_link_fails_the_build_with_its_place(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "docs", checkout / "docs")
    shutil.copy(ROOT / "zensical.toml", checkout)
    (checkout / ".typing").symlink_to(ROOT / ".typing")
    with (checkout / "docs/results/traffic-signs.md").open("a") as page:
        page.write("\n[gone](how-to/gone.md)\n")
    built = build(checkout, tmp_path / "work")
    assert built.returncode == 1
    assert "page does not exist" in built.stderr
    assert "results/traffic-signs.md" in built.stderr
    assert "Traceback" not in built.stderr


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="gone.html">x</a>', "index.html links to gone.html, which does not exist"),
        ('<img src="gone.png">', "index.html links to gone.png, which does not exist"),
        ('<a href="other.html#no">x</a>', "index.html links to other.html#no, which has no such"),
        ('<a href="#no">x</a>', "index.html links to #no, which has no such anchor"),
    ],
)
def test_a_dead_link_is_found(tmp_path: Path, body: str, problem: str) -> None:
    (tmp_path / "index.html").write_text(f'{body}<a href="other.html#here">x</a>')
    (tmp_path / "other.html").write_text('<h1 id="here">x</h1><a href="https://example.com">x</a>')
    (found,) = check_site.dead_links(check_site.read_pages(tmp_path))
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "head",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/a.css">',
        '<img src="http://cdn.example/a.png">',
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(tmp_path: Path, head: str) -> None:
    (tmp_path / "index.html").write_text(f'{head}<a href="https://example.com">read on</a>')
    (found,) = check_site.loaded_from_elsewhere(tmp_path, check_site.read_pages(tmp_path))
    assert "cdn.example" in found


def test_a_font_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text('@font-face { src: url("https://cdn.example/a.woff2") }')
    (found,) = check_site.loaded_from_elsewhere(tmp_path, {})
    assert "https://cdn.example/a.woff2" in found


LAZY_PACKAGE = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from drawn.inner import Shape, area, lost, silent
__all__ = ["Shape", "absent", "area", "silent"]
"""
INNER_MODULE = '''
class Shape:
    """A shape."""
    def turn(self) -> None: ...
    def _hidden(self) -> None: ...
def area() -> int:
    """Return it."""
def lost() -> None: ...
def silent() -> None: ...
'''


def test_public_names_without_a_docstring_are_found_through_lazy_imports(tmp_path: Path) -> None:
    package = tmp_path / "drawn"
    package.mkdir()
    (package / "__init__.py").write_text(LAZY_PACKAGE)
    (package / "inner.py").write_text(INNER_MODULE)
    found = [line.split()[0] for line in check_site.undocumented_names("drawn", tmp_path)]
    assert found == ["drawn.Shape.turn", "drawn.__all__", "drawn.silent"]


def test_a_public_name_that_its_module_hides_is_found(tmp_path: Path) -> None:
    package = tmp_path / "hidden"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from hidden.measure import measure\n"
        '__all__ = ["measure"]\n'
    )
    (package / "measure.py").write_text('"""One."""\ndef measure() -> None:\n    """Two."""\n')
    (found,) = check_site.undocumented_names("hidden", tmp_path)
    assert found.startswith("hidden.measure is a module's name as well")


def test_a_public_name_outside_the_reference_is_found(tmp_path: Path) -> None:
    (tmp_path / "named.py").write_text('__all__ = ["here", "nowhere"]\nhere = nowhere = 1\n')
    (tmp_path / "index.html").write_text('<h2 id="named.here">here</h2>')
    (found,) = check_site.absent_names(check_site.read_pages(tmp_path), "named", tmp_path)
    assert found.startswith("named.nowhere is public")
