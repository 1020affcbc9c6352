"""The page that labels pictures: asked over HTTP, and used with the keyboard in a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live.browser import Browser, needs_chromium
from live.doubtful import LABELS, files_below, hard_examples
from live.leaks import nothing_stays
from live.visitors import ask

from leansight.runtime.service.web.address import Address
from leansight.sdk.labelling.page import LabellingPage
from leansight.sdk.labelling.session import LabellingSession

__all__ = ["nothing_stays"]
ANYWHERE = Address(host="127.0.0.1", port=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "hard"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "labelled"


@pytest.fixture
def names(folder: Path) -> list[str]:
    return hard_examples(folder, [0.95, 0.9, 0.85, 0.8, 0.75, 0.7])


@pytest.fixture
def page(folder: Path, out: Path, names: list[str]) -> Iterator[LabellingPage]:
    assert names
    page = LabellingPage(LabellingSession(folder, out), ANYWHERE, token=None)
    yield page
    page.close()


def test_a_label_is_taken_and_the_next_picture_comes(
    page: LabellingPage, names: list[str], out: Path
) -> None:
    state = ask(page.url, "/state.json").json
    assert (state["name"], state["done"], state["left"]) == (names[0], 0, 6)
    assert state["labels"] == list(LABELS)
    picture = ask(page.url, f"/pictures/{names[0]}.jpg")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/jpeg")
    given = ask(page.url, "/label", method="POST", body={"name": names[0], "label": "stop"})
    assert (given.status, given.json["name"], given.json["done"]) == (200, names[1], 1)
    assert files_below(out) == {f"stop/{names[0]}.jpg"}


def test_a_step_that_comes_twice_is_taken_once(
    page: LabellingPage, names: list[str], out: Path
) -> None:
    body = {"name": names[0], "label": "stop"}
    first, second = (ask(page.url, "/label", method="POST", body=body) for _ in range(2))
    assert (first.status, second.status) == (200, 409)
    assert second.json["name"] == names[1]
    assert second.json["error"] == "this picture is done already"
    assert files_below(out) == {f"stop/{names[0]}.jpg"}


def test_what_is_no_step_changes_nothing(page: LabellingPage, names: list[str], out: Path) -> None:
    good = {"name": names[0], "label": "stop"}
    elsewhere = {"Origin": "http://evil.example"}
    plain = {"Content-Type": "text/plain"}
    for status, path, body, headers in (
        (403, "/label", good, elsewhere),
        (415, "/label", good, plain),
        (409, "/label", {"name": names[0], "label": "../../x"}, {}),
        (409, "/label", {"name": names[1], "label": "stop"}, {}),
        (409, "/undo", {}, {}),
        (400, "/label", [], {}),
        (404, "/remove", {}, {}),
    ):
        answer = ask(page.url, path, method="POST", body=body, headers=headers)
        assert (answer.status, path) == (status, path)
    assert ask(page.url, "/pictures/../bundle-d1.jpg").status == 404
    assert ask(page.url, f"/pictures/{names[1]}.jpg").status == 404
    assert ask(page.url, "/state.json").json["left"] == 6
    assert files_below(out) == set()


@needs_chromium
def test_all_is_labelled_with_the_keyboard_alone(
    page: LabellingPage, names: list[str], folder: Path, out: Path, tmp_path: Path
) -> None:
    with Browser(tmp_path / "profile", 390, 844) as browser:

        def press(*keys: str, done: int) -> None:
            for key in keys:
                browser.press(key)
            browser.wait_for(f"document.querySelector('#count').innerText === '{done} of 6'")
            browser.wait_for("!busy")

        browser.open(page.url)
        press(done=0)
        browser.wait_for("document.querySelector('#picture').naturalWidth === 128")
        assert browser.text("#choices button") == "1\nstop\n50 %"
        press("2", done=1)  # yield
        press("/", *"cycl", done=1)
        assert browser.evaluate("document.activeElement.id") == "other"
        press("Enter", done=1)
        browser.wait_for("document.querySelector('#message').className.includes('bad')")
        press(*"ists", "Enter", done=2)
        press("n", done=3)
        press("s", done=4)
        press("u", done=3)
        press("u", done=2)
        press("1", done=3)  # children, instead of none of these
        press("s", done=4)
        press("9", done=4)  # no such choice
        press("1", done=5)
        press("n", done=6)
        assert browser.text("#finished h2") == "All done"
        assert browser.evaluate("document.documentElement.scrollWidth") == 390
        assert browser.complaints == []
    assert files_below(out) == {
        *(f"yield/{names[0]}.jpg", f"cyclists/{names[1]}.jpg", f"children/{names[2]}.jpg"),
        f"yield/{names[4]}.jpg",
    }
    assert files_below(folder / "none-of-these") == {f"{names[5]}.jpg"}
    assert (folder / f"{names[3]}.jpg").exists()


@needs_chromium
def test_every_part_is_reached_with_tab_and_named(page: LabellingPage, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.open(page.url)
        browser.wait_for("document.querySelectorAll('#choices button').length === 3")
        reached = []
        for _ in range(6):
            browser.press("Tab")
            reached.append(browser.evaluate("document.activeElement.id || 'a choice'"))
        assert reached == ["a choice", "a choice", "a choice", "other", "none", "skip"]
        assert browser.evaluate("document.querySelector('#other').labels.length") == 1
        assert browser.evaluate("document.querySelector('#picture').alt").endswith("doubt is 95 %")
        assert browser.evaluate("document.querySelector('#message').ariaLive") == "polite"
