"""A window needs a screen, which no test has: a stand-in for OpenCV's part of it."""

import queue
import signal
import time

import cv2
import numpy as np
import pytest
from doubles.stream_results import Picture, seen, unlabelled

from leansight.runtime.errors import LeansightError
from leansight.runtime.service.screen.window import Window

NO_KEY = -1


class Screen:
    """Takes the place of OpenCV's windows; `keys` are pressed one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown = queue.Queue[Picture]()
        self.keys = queue.Queue[int]()
        self.is_open = False
        monkeypatch.setenv("DISPLAY", ":0")
        for name, replacement in {
            "namedWindow": self.open_window,
            "imshow": self.show,
            "waitKey": self.next_key,
            "getWindowProperty": self.is_visible,
            "destroyAllWindows": self.close_window,
        }.items():
            monkeypatch.setattr(cv2, name, replacement)

    def open_window(self, _title: str, _flags: int) -> None:
        self.is_open = True

    def show(self, _title: str, picture: Picture) -> None:
        self.shown.put(picture)

    def next_key(self, _milliseconds: int) -> int:
        time.sleep(0.001)
        return NO_KEY if self.keys.empty() else self.keys.get()

    def is_visible(self, _title: str, _property: int) -> float:
        return float(self.is_open)

    def close_window(self) -> None:
        self.is_open = False


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return Screen(monkeypatch)


def test_a_window_shows_pictures_and_then_that_they_are_stale(screen: Screen) -> None:
    window = Window()
    window.write(seen(image=np.full((240, 320, 3), 90, np.uint8)))
    assert screen.shown.get(timeout=60)[100, 100].tolist() == [90, 90, 90]
    window.write(unlabelled("stale"))
    assert screen.shown.get(timeout=60)[100, 100].tolist() == [0, 0, 0]
    window.close()
    assert not screen.is_open


@pytest.mark.parametrize("way", ["q", "Esc", "closed"])
def test_q_esc_and_closing_the_window_end_the_program(screen: Screen, way: str) -> None:
    ended = queue.Queue[int]()
    before = signal.signal(signal.SIGTERM, lambda number, _: ended.put(number))
    window = Window()
    try:
        if way == "closed":
            screen.is_open = False
        else:
            screen.keys.put({"q": ord("q"), "Esc": 27}[way])
        assert ended.get(timeout=60) == signal.SIGTERM
    finally:
        window.close()
        signal.signal(signal.SIGTERM, before)


def test_a_headless_opencv_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    if "NONE" not in cv2.getBuildInformation().split("GUI:")[1].split("\n")[0]:
        pytest.skip("this OpenCV has windows")
    with pytest.raises(LeansightError, match=r"this OpenCV has no windows\. Type: pip uninstall"):
        Window()


def test_without_a_screen_no_window_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(LeansightError, match="there is no screen"):
        Window()
