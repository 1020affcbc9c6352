import math
from typing import Any, cast

import pytest

from leansight.runtime.errors import SourceOptionError
from leansight.runtime.stream.sources.options import SourceOptions


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", (640,), "size must be two whole numbers above 0, not"),
        ("size", (640, 0), "size must be two whole numbers"),
        ("fps", 0, "fps must be above 0, not 0"),
        ("fps", math.inf, "fps must be above 0"),
        ("exposure_us", -1, "exposure must be above 0"),
        ("gain", math.nan, "gain must be above 0"),
        ("white_balance", "sunny", "white balance must be auto, incandescent, .* or two gains"),
        ("white_balance", (1.0, 0.0), "white balance must be"),
        ("raw", "yuyv422", "raw must be one of bgr24, rgb24, gray, yuv420p, not 'yuyv422'"),
        ("raw", "gray", "raw pixels need their size"),
        ("rotate", 45, "rotate must be 90, 180 or 270, not 45"),
        ("flip", "x", "flip must be h or v, not 'x'"),
        ("roi", (0, 0, 0, 5), "roi must be x, y, width and height"),
        ("roi", (-1, 0, 5, 5), "roi must be"),
        ("roi", (0, 0, 5), "roi must be"),
        ("roi", (0.5, 0.0, 0.6, 1.0), "roi must be"),
        ("roi", (0.5, 0, 1, 1), "roi must be"),
        ("roi", (0.0, math.nan, 1.0, 1.0), "roi must be"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(SourceOptionError, match=f"^{message}") as raised:
        SourceOptions(**cast("Any", {name: value}))
    assert isinstance(raised.value, ValueError)
    assert raised.value.parameter == ("size" if "need" in message else name)


def test_an_exposure_has_to_fit_into_a_frame() -> None:
    SourceOptions(fps=50, exposure_us=20_000)
    with pytest.raises(SourceOptionError, match=r"^50 frames a second leave no time for an exp"):
        SourceOptions(fps=50, exposure_us=20_001)


def test_what_a_kind_of_source_cannot_do_is_named() -> None:
    options = SourceOptions(size=(4, 4), exposure_us=5, rotate=90, flip="h", roi=(0, 0, 1, 1))
    options.check_allowed("a toaster", ("size", "exposure_us"))
    with pytest.raises(SourceOptionError, match=r"^a toaster has no exposure$") as raised:
        options.check_allowed("a toaster", ("size",))
    assert raised.value.parameter == "exposure_us"
