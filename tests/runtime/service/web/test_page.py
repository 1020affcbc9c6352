"""The live page, asked over real sockets."""

import dataclasses
import os
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from live.results import change, prediction, result, with_event
from live.visitors import ask, never_reads
from streams import Picture, number_of

from leansight.runtime.errors import LeansightError
from leansight.runtime.service.web import page as module
from leansight.runtime.service.web import server
from leansight.runtime.service.web.address import Address
from leansight.runtime.service.web.page import MOST_EVENTS, WebPage
from leansight.runtime.stream import figures
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.jpeg import encode_jpeg

ANYWHERE = Address(host="127.0.0.1", port=0)


@pytest.fixture
def page() -> Iterator[WebPage]:
    page = WebPage(ANYWHERE, name="signs", troubles={"mqtt": "no broker", "json": ""})
    yield page
    page.close()


def decoded(jpeg: bytes) -> Picture:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def large_frame(number: int) -> Frame:
    noise = np.random.default_rng(number).integers(0, 256, (720, 1280, 3), np.uint8)
    return Frame(image=noise, number=number, time_s=time.time())


# Health


def test_health_is_bad_before_the_first_frame(page: WebPage) -> None:
    health = ask(page.url, "/healthz")
    assert health.status == 503
    assert health.json == {
        "state": "reconnecting",
        "reason": "waiting for the first frame",
        "seconds_since_last_result": None,
    }


def test_health_is_good_while_labels_are_given_and_bad_when_they_are_not(page: WebPage) -> None:
    page.write(result(0))
    health = ask(page.url, "/healthz")
    assert (health.status, health.json["state"]) == (200, "running")
    assert 0 <= health.json["seconds_since_last_result"] < 60
    page.write(change("degraded", "82 °C"))
    assert ask(page.url, "/healthz").status == 200
    page.write(change("stale", "no frame for 2 s"))
    health = ask(page.url, "/healthz")
    assert (health.status, health.json["reason"]) == (503, "no frame for 2 s")


def test_a_stream_that_says_nothing_any_more_is_not_healthy(
    page: WebPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.write(result(0))
    assert ask(page.url, "/healthz").status == 200
    monkeypatch.setattr(figures, "HANGING_AFTER_S", 0)
    health = ask(page.url, "/healthz")
    assert (health.status, health.json["state"]) == (503, "stale")
    assert health.json["reason"].startswith("no result for ")
    assert ask(page.url, "/status.json").json["prediction"] is None


# Pictures


def test_the_picture_is_the_newest_frame_with_what_was_said_of_it(page: WebPage) -> None:
    page.write(result(6))
    page.write(result(7, label="yield"))
    answer = ask(page.url, "/frame.jpg")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    assert number_of(decoded(answer.body)) == 7
    assert answer.headers["frame-number"] == "7"
    assert '"label": "yield"' in answer.headers["frame-prediction"]


def test_who_has_a_picture_waits_for_the_next_one(page: WebPage) -> None:
    page.write(result(1))
    answers = []
    viewer = threading.Thread(
        target=lambda: answers.append(ask(page.url, "/frame.jpg?after=1").headers["frame-number"])
    )
    viewer.start()
    viewer.join(0.3)
    assert viewer.is_alive()
    page.write(result(2))
    viewer.join()
    assert answers == ["2"]


def test_a_picture_is_encoded_once_and_only_while_somebody_looks(
    page: WebPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = module.encode_jpeg

    def count(image: Picture, *, most_px: int) -> bytes:
        encoded.append(number_of(image))
        return encode(image, most_px=most_px)

    monkeypatch.setattr(module, "encode_jpeg", count)
    for number in range(50):
        page.write(result(number))
    assert encoded == []
    pictures = {ask(page.url, "/frame.jpg").body for _ in range(5)}
    assert encoded == [49]
    assert len(pictures) == 1


def test_a_large_picture_is_made_smaller(page: WebPage) -> None:
    image = np.zeros((1080, 1920, 3), np.uint8)
    page.write(
        dataclasses.replace(result(0), frame=Frame(image=image, number=0, time_s=time.time()))
    )
    assert decoded(ask(page.url, "/frame.jpg").body).shape == (540, 960, 3)


# Figures


def test_the_figures_of_the_stream(page: WebPage) -> None:
    for number, label in enumerate(["stop", None, "stop", "stop"]):
        page.write(dataclasses.replace(result(number, label), damaged=3))
    page.write(change("reconnecting", "the camera is gone"))
    page.write(result(4, label=None, score=0.4))
    status = ask(page.url, "/status.json").json
    assert status["prediction"] == prediction(None, 0.4).to_dict()
    assert (status["frames"], status["damaged"], status["reconnects"]) == (5, 0, 1)
    assert status["not_sure_share"] == pytest.approx(2 / 5)
    assert (status["age_ms"], status["inference_ms"]) == (20, 8)
    assert status["troubles"] == {"mqtt": "no broker"}
    assert (status["name"], status["state"], status["reason"]) == ("signs", "running", "")


def test_no_label_is_shown_of_a_stream_that_gives_none(page: WebPage) -> None:
    page.write(result(0))
    assert ask(page.url, "/status.json").json["prediction"]["label"] == "stop"
    page.write(change("frozen", "the same picture for 5 s"))
    assert ask(page.url, "/status.json").json["prediction"] is None


def test_events_are_shown_with_their_best_pictures_and_the_oldest_are_forgotten(
    page: WebPage,
) -> None:
    for number in range(1, MOST_EVENTS + 3):
        page.write(with_event(number))
    page.write(with_event(MOST_EVENTS, end_s=1.5e9))
    events = ask(page.url, "/status.json").json["events"]
    assert [event["number"] for event in events] == list(range(MOST_EVENTS + 2, 2, -1))
    assert [event["number"] for event in events if event["end"]] == [MOST_EVENTS]
    picture = ask(page.url, f"/events/{MOST_EVENTS}.jpg")
    assert number_of(decoded(picture.body)) == MOST_EVENTS
    assert ask(page.url, "/events/1.jpg").status == 404


# Slow and dead visitors


def test_viewers_that_never_read_neither_slow_the_stream_nor_take_memory(page: WebPage) -> None:
    """Each asks for hundreds of pictures of a megabyte, and takes none."""
    frames = [dataclasses.replace(result(n), frame=large_frame(n)) for n in range(4)]
    page.write(frames[0])
    jpeg_bytes = len(ask(page.url, "/frame.jpg").body)
    visitors = [never_reads(page.url, "/frame.jpg", requests=200) for _ in range(10)]
    try:
        time.sleep(0.5)
        before = resident_bytes()
        took_s = []
        for number in range(200):
            begin_s = time.thread_time()
            page.write(frames[number % 4])
            took_s.append(time.thread_time() - begin_s)
            time.sleep(0.01)
        grown = resident_bytes() - before
        assert ask(page.url, "/healthz").status == 200
    finally:
        for visitor in visitors:
            visitor.close()
    begin_s = time.thread_time()
    encode_jpeg(large_frame(0).image)
    assert np.median(took_s) < (time.thread_time() - begin_s) / 2  # another thread encodes
    # At most one answer for each of them, where they have asked for 200.
    assert grown < 3 * len(visitors) * jpeg_bytes


def test_a_viewer_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 1)
    page = WebPage(ANYWHERE, name="signs")
    page.write(dataclasses.replace(result(0), frame=large_frame(0)))
    silent = never_reads(page.url, "/", requests=0)
    dead = never_reads(page.url, "/frame.jpg", requests=200)
    try:
        assert silent.recv(1) == b""
        deadline = time.monotonic() + 60
        while connections(page.url) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not connections(page.url)
    finally:
        silent.close()
        dead.close()
        page.close()


def connections(url: str) -> int:
    """Return how many connections the server of a page at 127.0.0.1 has open."""
    port = urllib.parse.urlsplit(url).port
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = "01"  # include/net/tcp_states.h of Linux
    return [row[3] for row in rows if row[1].endswith(f":{port:04X}")].count(established)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_crowd_is_turned_away_and_its_end_lets_others_in(page: WebPage) -> None:
    crowd = [never_reads(page.url, "/", requests=0) for _ in range(server.MOST_CONNECTIONS + 20)]
    ended = 0
    for visitor in crowd[server.MOST_CONNECTIONS :]:
        try:
            ended += visitor.recv(1) == b""
        except ConnectionResetError:
            ended += 1
    assert ended == 20
    for visitor in crowd:
        visitor.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            assert ask(page.url, "/").status == 200
            break
        except ConnectionError:
            time.sleep(0.05)


# Beginning and end


@pytest.mark.parametrize("state", ["nothing yet", "a viewer waits", "viewers never read"])
def test_closing_waits_for_nobody(state: str) -> None:
    page = WebPage(ANYWHERE, name="signs")
    visitors: list[socket.socket] = []
    if state != "nothing yet":
        page.write(dataclasses.replace(result(0), frame=large_frame(0)))
        after = "?after=0" if state == "a viewer waits" else ""
        visitors = [never_reads(page.url, f"/frame.jpg{after}", requests=50) for _ in range(10)]
        time.sleep(0.3)
    begin_s = time.monotonic()
    page.close()
    assert time.monotonic() - begin_s < 3
    for visitor in visitors:
        visitor.close()


def test_a_port_in_use_is_one_clear_line(page: WebPage) -> None:
    port = int(page.url.rsplit(":", 1)[1].strip("/"))
    taken = Address(host="127.0.0.1", port=port)
    with pytest.raises(LeansightError, match=r": address already in use\. Choose another") as error:
        WebPage(taken, name="signs")
    assert error.value.parameter == "web"


def test_what_is_served_beside_the_page(page: WebPage) -> None:
    for name, kind in (
        ("", "text/html"),
        ("style.css", "text/css"),
        ("page.js", "text/javascript"),
    ):
        answer = ask(page.url, f"/{name}")
        assert (answer.status, answer.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
    for absent in ("/page.py", "/..%2fpage.py", "/__init__.py", "/x/y"):
        assert ask(page.url, absent).status == 404
    assert ask(page.url, "/", method="POST").status == 405


def test_nothing_of_the_page_is_fetched_from_elsewhere() -> None:
    folder = Path(module.__file__).parent
    for name in ("page.html", "page.js", "style.css"):
        assert "http" not in (folder / name).read_text()
