import html.parser
import itertools
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.figure
import pytest
from doubles.benchmarks import STATE, a_benchmark, a_result, around
from hypothesis import example, given, settings
from hypothesis import strategies as st
from live.browser import Browser, needs_chromium

from leansight.benchmarks.results.estimates import Percentiles
from leansight.benchmarks.results.page import (
    look_of,
    make_logarithmic,
    shortened,
    write_page,
)
from leansight.benchmarks.results.resources import Energy
from leansight.benchmarks.results.result import Accuracy, Benchmark, Failure


class Page(html.parser.HTMLParser):
    """The tags of a page that stay open, where it fetches from, its headings and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br", "img"}:
            self.open.append(tag)
        # In SVG, a reference inside of the page begins with "#".
        sources = [v for k, v in attrs if k in {"src", "href", "xlink:href"} and v]
        self.fetched += [source for source in sources if not source.startswith("#")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(found: Benchmark, folder: Path) -> Page:
    write_page(found, folder / "bench.html")
    return Page((folder / "bench.html").read_text())


ACCURACY = Accuracy(
    images=900,
    videos=90,
    accuracy=around(0.9),
    balanced=None,
    threshold=0.9,
    kept=around(0.8),
    right=None,
)


def test_the_page_is_whole_and_fetches_nothing(tmp_path: Path) -> None:
    found = a_benchmark(
        a_result("first <b>", 4.0, accuracy=ACCURACY),
        a_result("second $x$", 1.0, accuracy=ACCURACY),
        failures=[Failure(name="bad", format="onnx", reason="out of luck")],
    )
    page = page_of(found, tmp_path)
    assert page.open == []
    assert page.fetched == []
    for words in (
        "first <b> (tflite)",
        "second $x$ (tflite) is faster than first <b> (tflite): 4 times",
        "bad (onnx) failed: out of luck",
        "90.0 %",
        "1 CONV_2D first",
        "6.0 M",
        "1 QLinearConv conv1",
        "75.0 %",
        "43.1 %",
        "1.2 %",
        "61.2 GMAC/s (tflite)",
        "Energy is not known: no meter",
        "runtime: LiteRT, threads: 1, xnnpack: 9 of 9 operations",
    ):
        assert words in page.text
    assert "INVALID" not in page.text
    style = "".join(re.findall(r"url\(([^)]*)\)", (tmp_path / "bench.html").read_text()))
    assert "http" not in style


def test_energy_is_a_column_where_it_is_known(tmp_path: Path) -> None:
    energy = Energy(
        source="a meter", idle_w=2.5, busy_w=4.75, mj_per_frame=31.25, mj_above_idle=12.5, frames=9
    )
    found = a_benchmark(a_result("a", 1.0, energy=energy), a_result("b", 2.0), energy="")
    text = page_of(found, tmp_path).text
    for words in ("mJ a frame", "31.25", "12.50", "4.75", "Energy is that of a meter"):
        assert words in text
    assert "not known" not in text
    assert "Energy of a frame: all that a meter took; idle 2.50 W." in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "No times of single operations: leansight knows no profiler in LiteRT's Python."),
        (
            {"format": "onnx", "interpreter": {"runtime": "ONNX Runtime"}},
            "The times of single operations were not asked for.",
        ),
    ],
)
def test_why_there_are_no_times_of_operations_is_said(
    tmp_path: Path, values: dict[str, object], words: str
) -> None:
    found = a_benchmark(a_result("a", 1.0, **values))
    (detail,) = found.details
    bare = replace(found, details=(replace(detail, layer_times=()),))
    assert words in page_of(bare, tmp_path).text
    assert words not in page_of(found, tmp_path).text
    failed = replace(detail, layer_times=(), profile_failure="it hangs")
    text = page_of(replace(found, details=(failed,)), tmp_path).text
    assert "No times of single operations: it hangs." in text


def test_each_step_has_its_percentiles_and_capture_where_there_is_one(tmp_path: Path) -> None:
    plain, captured = a_result("a", 1.0), a_result("b", 2.0)
    time = Percentiles(p50=7.125, p90=8, p95=8, p99=9, max=33.5, intervals={"p50": (6.5, 8.25)})
    captured = replace(captured, latency_ms=replace(captured.latency_ms, capture=time))
    text = page_of(a_benchmark(plain, captured), tmp_path).text
    assert text.count("capture") == 2  # a row, and what it is
    assert "7.125 (6.500 to 8.250)" in text
    assert "33.500" in text
    assert "capture" not in page_of(a_benchmark(plain), tmp_path).text


def test_memory_is_a_line_over_time_for_each_model(tmp_path: Path) -> None:
    found = a_benchmark(a_result("first", 4.0), a_result("second", 1.0))
    page = page_of(found, tmp_path)
    assert "Memory over time" in page.text
    drawn = (tmp_path / "bench.html").read_text().partition("Memory over time")[2]
    drawn = drawn.partition("</svg>")[0]
    # matplotlib draws a line of four points as one path: M, then three times L.
    lines = re.findall(r'd="M [-\d. ]+\n(?:L [-\d. ]+\n){3}"', drawn)
    assert len(lines) == 2


def test_each_of_thirty_models_is_drawn_in_its_own_way() -> None:
    looks = [look_of(number) for number in range(30)]
    assert len({(look.colour, look.marker) for look in looks}) == 30
    assert len({(look.colour, look.line) for look in looks}) == 30
    assert len({(look.colour, look.swatch) for look in looks}) == 30
    look_of(1000)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("relu_1_exact", "relu_1_exact"),
        (f"stages/{'block/' * 9}conv", "…ck/block/block/block/block/conv"),
        ("litert_torch._convert.ChannelLastIOWrapper;;litert_torch.ChannelLastIOWrapper;5", ""),
    ],
)
def test_of_an_operations_name_that_is_shown_which_tells_it_apart(name: str, shown: str) -> None:
    assert shortened(name) == shown


@example(low=11501.0, ratio=2.0)
@given(low=st.floats(1e-3, 1e5), ratio=st.floats(1, 1e6))
@settings(max_examples=20, deadline=None)
def test_numbers_of_an_axis_are_several_and_apart(low: float, ratio: float) -> None:
    figure = matplotlib.figure.Figure((5, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(labelsize=9)
    make_logarithmic(axes, "x", low, low * ratio)
    figure.canvas.draw()
    labels = axes.get_xticklabels(which="both")
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    assert len([label for label in labels if label.get_text()]) >= 3
    for left, right in itertools.pairwise(boxes):
        assert left.x1 + 1 < right.x0
    assert axes.get_xlim()[0] < low <= low * ratio < axes.get_xlim()[1]


def test_pictures_have_the_colour_and_the_ground_of_the_page(tmp_path: Path) -> None:
    write_page(a_benchmark(a_result("a", 1.0), a_result("b", 2.0)), tmp_path / "bench.html")
    text = (tmp_path / "bench.html").read_text()
    assert "prefers-color-scheme: dark" in text
    for drawn in re.findall("<svg.*?</svg>", text, re.DOTALL):
        assert "currentColor" in drawn
        assert "#000000" not in drawn
        assert "#ffffff" not in drawn


@needs_chromium
def test_a_phone_need_not_scroll_sideways_whatever_the_names(tmp_path: Path) -> None:
    name = "of-the-third-camera-" * 9
    found = a_benchmark(
        *(a_result(f"{name}{number}.bundle", 10.0**number) for number in range(3)),
        failures=[Failure(name=name, format="onnx", reason=f"{'no_answer' * 20}")],
    )
    write_page(found, tmp_path / "bench.html")
    with Browser(tmp_path / "browser", 360, 800) as browser:
        browser.open((tmp_path / "bench.html").as_uri())
        assert browser.evaluate("document.documentElement.scrollWidth") == 360
        assert browser.evaluate("document.querySelectorAll('svg').length") == 3
        assert browser.complaints == []


@needs_chromium
def test_the_first_table_is_seen_whole_on_a_desktop(tmp_path: Path) -> None:
    slow = around(1234.5)
    results = [
        a_result(f"weather-small-{n}.bundle", 100.0, undisturbed_ms=slow, frames_per_s=12_345.0)
        for n in range(3)
    ]
    write_page(a_benchmark(*results), tmp_path / "bench.html")
    with Browser(tmp_path / "browser", 1280, 900) as browser:
        browser.open((tmp_path / "bench.html").as_uri())
        hidden = "(t => t.scrollWidth - t.clientWidth)(document.querySelector('.wide'))"
        assert browser.evaluate(hidden) == 0


def test_what_memory_is_for_is_told_of_each_model(tmp_path: Path) -> None:
    known = a_result("a", 1.0, model_rss_bytes=7_400_000, arena_bytes=3_260_416)
    text = " ".join(page_of(a_benchmark(known), tmp_path).text.split())
    memory = text.partition("Memory")[2].partition("Memory over time")[0]
    for words in ("41.0 MB", "7.4 MB", "3.3 MB", "30.0 MB", "tensor arena"):
        assert words in memory
    unknown = a_result("a", 1.0, steady_pss_bytes=None)
    text = " ".join(page_of(a_benchmark(unknown), tmp_path).text.split())
    assert "41.0 MB –––" in text.partition("Memory")[2]


def test_without_labelled_images_or_memory_there_are_no_such_pictures(tmp_path: Path) -> None:
    plain = page_of(a_benchmark(a_result("a", 1.0, peak_rss_bytes=None)), tmp_path)
    assert "How often they are right" not in plain.text
    assert "Memory" not in plain.text
    assert "What is worth its time" in plain.text


@pytest.mark.parametrize("bits", [0b1, 0b100])
def test_a_run_that_throttled_is_marked(tmp_path: Path, bits: int) -> None:
    states = (STATE, replace(STATE, throttled_bits=bits))
    page = page_of(a_benchmark(a_result("a", 1.0), states=states), tmp_path)
    assert "INVALID: the board was throttled" in page.text
