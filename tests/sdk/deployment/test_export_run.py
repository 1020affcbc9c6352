import pytest

from leansight.exporters.options import NextEffort
from leansight.sdk.deployment.export_run import announce


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
