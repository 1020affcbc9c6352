from hypothesis import given
from hypothesis import strategies as st

from leansight.sdk.search.objectives import OBJECTIVES, pareto_front

costs = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(-3, 3), min_size=width, max_size=width), min_size=1, max_size=25
    )
)


@given(costs)
def test_the_front_is_what_nothing_else_beats(rows: list[list[int]]) -> None:
    def beats(a: list[int], b: list[int]) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    expected = [i for i, row in enumerate(rows) if not any(beats(other, row) for other in rows)]
    assert pareto_front(rows) == expected


def test_values_are_written_as_people_read_them() -> None:
    say = {name: objective.say for name, objective in OBJECTIVES.items()}
    assert say["accuracy"](0.98765) == "98.8 %"
    assert say["coverage"](1.0) == "100.0 %"
    assert say["latency"](0.39249) == "0.392 ms"
    assert say["latency"](12.3456) == "12.3 ms"
    assert say["size"](1_234_567) == "1235 KB"
