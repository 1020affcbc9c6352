"""Orders of labels that people mix up are found by their names, others by the answers."""

import numpy as np

from leansight.exporters.verification.label_order import matched_order, reordered, usual_orders


def orders(*labels: str) -> dict[str, tuple[str, ...]]:
    return dict(usual_orders(labels))


def test_numbers_were_sorted_as_text_or_by_their_value() -> None:
    assert orders("1", "2", "10", "11")["sorted as text"] == ("1", "10", "11", "2")
    assert orders("1", "10", "2")["in natural order"] == ("1", "2", "10")
    signs = orders("sign 10b", "sign 9", "sign 10a")
    assert signs["in natural order"] == ("sign 9", "sign 10a", "sign 10b")


def test_capitals_come_first_or_do_not_count() -> None:
    assert orders("ant", "Bee", "cat")["sorted as text"] == ("Bee", "ant", "cat")
    assert orders("Bee", "ant", "cat")["sorted without regard to case"] == ("ant", "Bee", "cat")


def test_no_order_comes_twice_or_is_the_given_one() -> None:
    found = [order for _, order in usual_orders(("a", "b", "c"))]
    assert found == [("c", "b", "a"), ("b", "c", "a"), ("c", "a", "b")]
    assert [order for _, order in usual_orders(("a", "b"))] == [("b", "a")]


def test_the_matched_order_undoes_any_mixture() -> None:
    rng = np.random.default_rng(0)
    labels = tuple("abcdefgh")
    outputs = tuple(rng.permutation(labels).tolist())  # what the outputs really stand for
    classes = rng.integers(0, 8, 200)
    truth = classes[:, None] == np.arange(8)
    given = np.array([[outputs.index(labels[c]) == k for k in range(8)] for c in classes])
    assert matched_order(given, truth, labels) == outputs
    logits = reordered(given.astype(np.float32), labels, outputs)
    assert (logits.argmax(axis=1) == classes).all()


def test_an_output_that_no_image_speaks_of_keeps_its_label() -> None:
    classes = np.array([0, 1, 1, 0])
    truth = classes[:, None] == np.arange(5)
    given = (1 - classes)[:, None] == np.arange(5)
    assert matched_order(given, truth, tuple("abcde")) == ("b", "a", "c", "d", "e")
