import pytest
from doubles.stream_results import seen, unlabelled

from leansight.runtime.service.caption import caption
from leansight.runtime.stream.classified_stream import StreamResult


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (seen("stop", score=0.984), "stop 98 %"),
        (seen(None, score=0.41), "not sure (stop 41 %)"),
        (unlabelled("unusable"), "unusable"),
        (unlabelled("stale", "no frame for 2 s"), "stale: no frame for 2 s"),
        (seen("a\x1b[31m"), "a?[31m 98 %"),
        (seen("Überholverbot"), "Überholverbot 98 %"),
    ],
)
def test_a_result_in_a_few_words(result: StreamResult, words: str) -> None:
    assert caption(result) == words
