"""Check a built site: no dead link, nothing loaded from elsewhere, every public name documented.

python docs/tools/check_site.py SITE
"""

import re
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import griffe

PACKAGES: Final = ("runtime", "exporters", "benchmarks", "sdk")
# What a browser fetches by itself; an `a` is followed only by its reader.
LOADED: Final = frozenset({"audio", "embed", "iframe", "img", "link", "object", "script", "source"})
LOADED_BY_CSS: Final = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)")


class Page(HTMLParser):
    """The anchors of a page, and what it links to and loads: (tag, address)."""

    def __init__(self, html: str) -> None:
        """Read the page."""
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Keep what counts of a tag."""
        values = dict(attrs)
        self.anchors.update(value for key in ("id", "name") if (value := values.get(key)))
        self.links += [(tag, value) for key in ("href", "src") if (value := values.get(key))]


def read_pages(site: Path) -> dict[Path, Page]:
    """Return the pages of a built site by their files, but for 404.html.

    A server shows that one at any address, so its links begin at the server's root.
    """
    files = sorted(site.resolve().rglob("*.html"))
    return {file: Page(file.read_text()) for file in files if file.name != "404.html"}


def dead_links(pages: dict[Path, Page]) -> Iterator[str]:
    """Yield a line for each link within the site whose file or anchor is not there."""
    for file, page in pages.items():
        for _, address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                yield f"{file.name} links to {address}, which does not exist"
            elif parts.fragment and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{file.name} links to {address}, which has no such anchor"


def loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Yield a line for each style, script, font or image that is not in the site."""
    for file, page in pages.items():
        for tag, address in page.links:
            if tag in LOADED and urlsplit(address).netloc:
                yield f"{file.name} loads {address}: the site must work offline"
    for file in sorted(site.rglob("*.css")):
        for address in LOADED_BY_CSS.findall(file.read_text()):
            yield f"{file.name} loads {address}: the site must work offline"


def undocumented_names(package: str, search_path: Path) -> Iterator[str]:
    """Yield a line for each name of `__all__`, or public member of one, without a docstring."""
    loaded = griffe.load(package, search_paths=[search_path], resolve_aliases=True)
    for name in loaded.exports or ():
        public = loaded.members.get(str(name))
        if public is None:
            yield f"{package}.__all__ names {name}, which is not there"
            continue
        if isinstance(public, griffe.Module):
            yield f"{package}.{name} is a module's name as well: importing the module hides it"
        found = public.final_target if isinstance(public, griffe.Alias) else public
        yield from _undocumented(f"{package}.{name}", found)


def _undocumented(path: str, public: griffe.Object) -> Iterator[str]:
    """Yield a line if there is no docstring; of classes, for methods and properties as well."""
    if not public.docstring:
        yield f"{path} has no docstring: its page would say nothing of it"
    own = [(n, m) for n, m in public.members.items() if isinstance(m, griffe.Object)]
    for name, member in own if public.is_class else ():
        called = member.is_function or "property" in member.labels
        if called and (name == "__call__" or not name.startswith("_")):
            yield from _undocumented(f"{path}.{name}", member)


def absent_names(pages: dict[Path, Page], package: str, search_path: Path) -> Iterator[str]:
    """Yield a line for each name of `__all__` that has no entry in the reference."""
    anchors = {anchor for page in pages.values() for anchor in page.anchors}
    loaded = griffe.load(package, search_paths=[search_path])
    for name in loaded.exports or ():
        if f"{package}.{name}" not in anchors:
            yield f"{package}.{name} is public and not in the reference"


def problems(site: Path, search_path: Path) -> Iterator[str]:
    """Yield a line for everything that is wrong with a site, of the packages at `search_path`."""
    pages = read_pages(site)
    yield from dead_links(pages)
    yield from loaded_from_elsewhere(site, pages)
    for package in PACKAGES:
        yield from undocumented_names(f"leansight.{package}", search_path)
        yield from absent_names(pages, f"leansight.{package}", search_path)


def main() -> None:
    """Print what is wrong; exit code 1 if anything is."""
    found = list(problems(Path(sys.argv[1]), Path(__file__).parents[2] / ".typing"))
    for line in found:
        print(f"docs: {line}", file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
