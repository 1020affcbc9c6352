from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.data.class_names import normalise_labels
from leansight.sdk.data.samples import Sample

NFC, NFD = "caf\u00e9", "cafe\u0301"


def named(*labels: str) -> list[Sample]:
    return [Sample(path=Path(label, "1.png"), labels=(label,)) for label in labels]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (NFD, NFC),
        (" cat ", "cat"),
        ("سگ", "سگ"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("犬　猫", "犬　猫"),
        ("a b", "a b"),
        ("😀\ufe0f", "😀\ufe0f"),
        ("$x_{$", "$x_{$"),
    ],
)
def test_names_come_in_one_form(label: str, expected: str) -> None:
    (found,) = normalise_labels(named(label))
    assert found.labels == (expected,)
    assert found.path == Path(label, "1.png")  # a file is found by its own bytes


@pytest.mark.parametrize(
    "labels",
    [("Cat", "cat"), ("cat", "cat "), (NFC, NFD), ("Straße", "strasse"), ("a  b", "a b")],
)
def test_two_spellings_of_one_name_are_an_error_that_names_both(labels: tuple[str, str]) -> None:
    with pytest.raises(DataError, match="two spellings of one class name") as caught:
        normalise_labels(named("dog", *labels))
    for label in labels:
        assert f"({label}/1.png)" in str(caught.value)
    assert "dog" not in str(caught.value)


def test_spellings_that_look_alike_are_told_apart_in_the_message() -> None:
    with pytest.raises(DataError, match=r"'cafe\\u0301' .* and 'caf\\xe9'"):
        normalise_labels(named(NFC, NFD))


def test_letters_of_a_data_set_of_handwriting_are_classes() -> None:
    assert len({s.labels for s in normalise_labels(named("A", "a", "b"))}) == 3


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("a\nb", r"'a\\nb' has U\+000A, which cannot be printed"),
        ("\u202etac", r"has U\+202E"),
        ("caf\udce9", r"'caf\\udce9' has U\+DCE9"),
        ("zero\u200bwidth", r"has U\+200B"),
        (" ", r"' ' is empty"),
    ],
)
def test_names_that_cannot_be_printed_are_refused(label: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        normalise_labels(named("dog", label))
