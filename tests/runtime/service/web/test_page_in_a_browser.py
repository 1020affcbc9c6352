"""The live page as a real browser shows it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from live.browser import Browser, needs_chromium
from live.results import change, result, with_event

from leansight.runtime.service.web import page as module
from leansight.runtime.service.web.address import Address
from leansight.runtime.service.web.page import WebPage

TOKEN = "a-token-of-some-length"  # noqa: S105 -- of this test
_VARIABLE = r"--([\w-]+): #(\w+)"
PHONE, DESK = (390, 844), (1280, 800)
pytestmark = needs_chromium


@pytest.fixture
def troubles() -> dict[str, str]:
    return {}


@pytest.fixture
def page(troubles: dict[str, str]) -> Iterator[WebPage]:
    page = WebPage(Address(host="127.0.0.1", port=0), name="signs", token=TOKEN, troubles=troubles)
    yield page
    page.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile", *PHONE) as browser:
        yield browser


def test_the_page_shows_the_stream_as_it_goes(
    page: WebPage, browser: Browser, troubles: dict[str, str]
) -> None:
    page.write(with_event(1))
    browser.open(page.url)
    browser.wait_for("document.querySelector('#label').innerText === 'stop'")
    assert browser.text("#score") == "90 %"
    assert browser.evaluate("location.search") == ""
    browser.wait_for("document.querySelector('#picture').naturalWidth === 128")
    browser.wait_for("document.querySelector('#events img').naturalWidth === 128")
    browser.wait_for("document.querySelector('#state').innerText === 'running'")
    assert "stop" in browser.text("#events li")
    troubles["mqtt"] = "no broker"
    page.write(result(2, label=None, score=0.4))
    browser.wait_for("document.querySelector('#label').innerText === 'not sure'")
    browser.wait_for("document.querySelector('#troubles').innerText === 'mqtt: no broker'")
    browser.wait_for("document.querySelector('#not_sure').innerText === '50 %'")
    page.write(change("stale", "no frame for 2 s"))
    browser.wait_for("document.querySelector('#state').innerText === 'stale'")
    browser.wait_for("document.querySelector('#label').innerText === 'no label'")
    assert browser.text("#reason") == "no frame for 2 s"
    assert browser.evaluate("document.querySelector('#picture').className") == "old"
    page.write(result(3, label="yield"))
    browser.wait_for("document.querySelector('#label').innerText === 'yield'")
    assert browser.complaints == []


def test_a_page_whose_program_has_ended_says_so_and_comes_back(
    page: WebPage, browser: Browser
) -> None:
    page.write(result(1))
    browser.open(page.url)
    browser.wait_for("document.querySelector('#label').innerText === 'stop'")
    page.close()
    browser.wait_for("document.querySelector('#state').innerText === 'no connection'")
    assert browser.text("#label") == "no label"
    port = int(page.url.split(":")[2].partition("/")[0])
    again = WebPage(Address(host="127.0.0.1", port=port), name="signs", token=TOKEN)
    try:
        again.write(result(9, label="yield"))
        browser.wait_for("document.querySelector('#label').innerText === 'yield'")
    finally:
        again.close()


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_the_page_fits_and_reads_large(
    page: WebPage, browser: Browser, size: tuple[int, int]
) -> None:
    browser.resize(*size)
    for number in range(1, 9):
        page.write(with_event(number))
    page.write(result(1, label="a-label-of-one-very-long-word-that-has-no-place-to-break-at-all"))
    browser.open(page.url)
    browser.wait_for("document.querySelectorAll('#events li').length === 8")
    browser.wait_for("document.querySelector('#label').innerText.startsWith('a-label')")
    assert browser.evaluate("document.documentElement.scrollWidth") == size[0]
    sizes = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.innerText)"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 16
    label = browser.evaluate("getComputedStyle(document.querySelector('#label')).fontSize")
    assert float(label.removesuffix("px")) >= 35


def test_the_page_can_be_listened_to(page: WebPage, browser: Browser) -> None:
    page.write(with_event(1))
    browser.open(page.url)
    browser.wait_for("document.querySelectorAll('#events img').length === 1")
    assert browser.evaluate("document.querySelector('#state').ariaLive") == "polite"
    assert browser.evaluate("document.querySelector('#troubles').ariaLive") == "polite"
    browser.wait_for("[...document.images].every(image => image.alt)")
    assert browser.evaluate("document.documentElement.lang") == "en"


def test_nobody_looking_fetches_nothing(page: WebPage, browser: Browser) -> None:
    page.write(result(1))
    browser.open(page.url)
    browser.wait_for("document.querySelector('#label').innerText === 'stop'")
    browser.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")
    page.write(result(2))  # ends the request that waits
    browser.evaluate("new Promise(resolve => setTimeout(resolve, 1500))")
    browser.evaluate("performance.clearResourceTimings()")
    page.write(result(3))
    browser.evaluate("new Promise(resolve => setTimeout(resolve, 1500))")
    assert browser.evaluate("performance.getEntriesByType('resource').length") == 0


# Contrast, from the style itself


def palettes() -> dict[str, dict[str, str]]:
    style = (Path(module.__file__).parent / "style.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    return {
        name: {variable: expanded(value) for variable, value in re.findall(_VARIABLE, text)}
        for name, text in (("light", light), ("dark", dark))
    }


def expanded(colour: str) -> str:
    return "".join(2 * digit for digit in colour) if len(colour) == 3 else colour


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *((text, ground) for text in ("text", "quiet", "bad") for ground in ("card", "ground")),
        *(("on-colour", ground) for ground in ("good", "warn", "bad", "quiet")),
    ],
)
def test_text_stands_out_from_its_ground(scheme: str, text: str, ground: str) -> None:
    colours = palettes()[scheme]
    darker, lighter = sorted(luminance(colours[name]) for name in (text, ground))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
