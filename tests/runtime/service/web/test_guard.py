"""Who may open a page."""

import http.cookies
from collections.abc import Iterator

import pytest
from live.results import result
from live.visitors import ask

from leansight.runtime.service.web.address import Address
from leansight.runtime.service.web.page import WebPage

TOKEN = "a-token-of-some-length"  # noqa: S105 -- of this test


@pytest.fixture
def open_page() -> Iterator[WebPage]:
    page = WebPage(Address(host="127.0.0.1", port=0), name="signs")
    page.write(result(0))
    yield page
    page.close()


@pytest.fixture
def page() -> Iterator[WebPage]:
    page = WebPage(Address(host="127.0.0.1", port=0), name="signs", token=TOKEN)
    page.write(result(0))
    yield page
    page.close()


def base(page: WebPage) -> str:
    return page.url.partition("?")[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "[::1]:8080"])
def test_a_loopback_page_opens_by_the_loopbacks_names(open_page: WebPage, host: str) -> None:
    assert ask(open_page.url, "/", headers={"Host": host}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8080", "192.168.0.2", ""])
@pytest.mark.parametrize("path", ["/", "/frame.jpg", "/status.json", "/healthz"])
def test_no_other_name_opens_it(open_page: WebPage, host: str, path: str) -> None:
    """A page elsewhere may let its own name point to the loopback (DNS rebinding)."""
    answer = ask(open_page.url, path, headers={"Host": host})
    assert answer.status == 403
    assert b"localhost" in answer.body


@pytest.mark.parametrize("path", ["/", "/frame.jpg", "/status.json", "/healthz", "/page.js"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer another-token-of-length"},
        {"Authorization": "Bearer "},
        {"Cookie": "leansight=x"},
    ],
)
def test_without_the_token_nothing_is_shown(
    page: WebPage, path: str, headers: dict[str, str]
) -> None:
    for query in ("", "?token=", "?token=another", f"?token={TOKEN[:-1]}", "?token=%ff%C3%A9"):
        assert ask(page.url, path + query, headers=headers).status == 401


def test_the_first_visit_brings_a_cookie_and_takes_the_token_out_of_the_address(
    page: WebPage,
) -> None:
    assert page.url.endswith(f"/?token={TOKEN}")
    first = ask(page.url, f"/?token={TOKEN}")
    assert (first.status, first.headers["location"]) == (303, "/")
    (cookie,) = http.cookies.SimpleCookie(first.headers["set-cookie"]).values()
    assert cookie["httponly"]
    assert cookie["samesite"] == "lax"
    later = {"Cookie": f"{cookie.key}={cookie.value}", "Host": "pi.local"}
    for path in ("/", "/frame.jpg", "/healthz"):
        assert ask(page.url, path, headers=later).status == 200


def test_programs_send_the_token_themselves(page: WebPage) -> None:
    assert ask(page.url, f"/healthz?token={TOKEN}").status == 200
    assert ask(page.url, "/healthz", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200


def test_another_site_changes_nothing(open_page: WebPage) -> None:
    ours = open_page.url.rstrip("/")
    for origin, status in (("http://evil.example", 403), ("null", 403), (ours, 405)):
        answer = ask(open_page.url, "/", method="POST", headers={"Origin": origin}, body={})
        assert answer.status == status


def test_a_long_request_is_refused(open_page: WebPage) -> None:
    assert ask(open_page.url, "/", method="POST", body="x" * 20_000).status == 413


@pytest.mark.parametrize("path", ["/", "/frame.jpg", "/nowhere"])
def test_each_answer_has_the_headers_of_security(open_page: WebPage, path: str) -> None:
    headers = ask(open_page.url, path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
