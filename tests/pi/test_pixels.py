import json
import random
from operator import gt, lt
from pathlib import Path

import numpy as np
import pytest
from pixels import digests, draw_image, draw_setting, main, seeded

from leansight.runtime.preprocessing import Clahe, Image


def test_the_same_seed_draws_the_same_everywhere() -> None:
    """What Python's random numbers and whole numbers gave on x86, with numpy 1.24 and 2.4."""
    drawn = seeded(0, 0)
    setting = draw_setting(drawn)
    assert (setting.size, setting.colour, setting.clahe) == (
        (234, 242),
        "rgb",
        Clahe(clip_limit=1.0, tiles=2),
    )
    sums = [int(draw_image(seeded("sum", number)).astype(np.int64).sum()) for number in range(3)]
    assert sums == [19302, 78195997, 14]


def test_settings_cover_what_a_recipe_can_state() -> None:
    settings = [draw_setting(seeded(0, number)) for number in range(2000)]
    assert {s.colour for s in settings} == {"gray", "rgb"}
    assert {s.fit for s in settings} == {"stretch", "letterbox", "centre-crop"}
    assert {s.interpolation for s in settings} == {"area", "linear", "nearest"}
    assert {s.difference_of_gaussians for s in settings} == {True, False}
    assert {s.clahe.tiles if s.clahe else 0 for s in settings} == set(range(17))
    sides = {side for s in settings for side in (s.height, s.width)}
    assert {1, 2, 300} < sides <= set(range(1, 301))
    wide, high = (sum(1 for s in settings if test(s.width, s.height)) for test in (gt, lt))
    assert min(wide, high) > 400


def test_a_setting_whose_bytes_differ_is_named_with_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, changed = tmp_path / "here.json", tmp_path / "changed.json"
    for seed, file in ((0, here), (0, changed)):
        arguments = ["--settings", "3", "--seed", str(seed)]
        assert main(["write", f"opencv={file}", *arguments]) == 0
    assert main(["compare", f"x86={here}", f"Pi 4={changed}"]) == 0
    assert capsys.readouterr().out == "0 of 3 settings give other bytes\n"
    values = json.loads(changed.read_text())
    second = list(values)[1]
    values[second][2] = "0" * 16
    changed.write_text(json.dumps(values))
    assert main(["compare", f"x86={here}", f"Pi 4={changed}", f"Pi 5={here}"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "1 of 3 settings give other bytes\n"
    assert printed.err == f"pixels: Pi 4: other bytes for {second}\n"


def test_one_pixel_more_gives_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(digests(1, 0))

    def brighter(drawn: random.Random) -> Image:
        image = draw_image(drawn).copy()
        image[image.shape[0] // 2, image.shape[1] // 2] ^= 128
        return image

    monkeypatch.setattr("pixels.draw_image", brighter)
    assert dict(digests(1, 0)).keys() == before.keys()
    assert dict(digests(1, 0)) != before


def test_other_settings_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        out = f"opencv={tmp_path / str(seed)}.json"
        assert main(["write", out, "--settings", "1", "--seed", str(seed)]) == 0
    assert main(["compare", f"a={tmp_path / '0.json'}", f"b={tmp_path / '1.json'}"]) == 2
    assert "b prepared other settings" in capsys.readouterr().err
