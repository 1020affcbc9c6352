import pytest

from leansight.sdk.pruning.target import Kind, PruningTarget


@pytest.mark.parametrize(
    ("kind", "amount", "text"),
    [
        ("macs", 64_600_000, "64.6 M multiply-accumulates"),
        ("size", 18_304, "18.304 KB"),
        ("size", 200_000.0, "200 KB"),
        ("latency", 1.23456, "1.235 ms"),
    ],
)
def test_an_amount_is_said_with_its_unit(kind: Kind, amount: float, text: str) -> None:
    assert PruningTarget(kind=kind, value=1).say(amount) == text
