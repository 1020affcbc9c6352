from pathlib import Path

import pytest

from leansight.exporters.options import NextEffort
from leansight.runtime.errors import DataError
from leansight.sdk.data.samples import Sample
from leansight.sdk.deployment.export_run import announce, images_of


@pytest.mark.parametrize(
    ("seconds", "duration"),
    [
        (20, "less than a minute"),
        (59, "less than a minute"),
        (60, "1.0 minutes"),
        (150, "2.5 minutes"),
    ],
)
def test_what_is_tried_next_is_said_with_its_reason_and_its_cost(
    seconds: float, duration: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = "onnx int8 lost 2 points of [red]accuracy[/red]"  # names of classes are no markup
    announce(NextEffort(effort="training", refusal=refusal, expected_seconds=seconds))
    captured = capsys.readouterr()
    assert " ".join(captured.err.split()) == (
        f"{refusal}. Next effort: training, which is expected to take {duration}."
    )
    assert captured.out == ""


def test_the_images_of_one_country_are_chosen() -> None:
    samples = [
        Sample(path=Path(f"{place}.png"), labels=("stop",), country=country)
        for place, country in enumerate(("germany", "northland", ""))
    ]
    assert images_of(samples, None) is None
    chosen = images_of(samples, "germany")
    assert chosen is not None
    assert chosen.tolist() == [True, False, False]
    with pytest.raises(DataError, match=r"of belgium: the countries are germany, northland$"):
        images_of(samples, "belgium")
    with pytest.raises(DataError, match="the countries are none"):
        images_of(samples[2:], "belgium")
