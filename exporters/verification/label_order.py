"""Labels in another order than a network's outputs: the orders that people mix up."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def usual_orders(labels: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give other orders that the same labels may have had in training, with their names.

    Folders are sorted as text by most frameworks, by numbers and without regard to case by
    most file managers; a background class moves all by one.
    """
    given = tuple(labels)
    orders = {
        "sorted as text": sorted(given),
        "sorted without regard to case": sorted(given, key=str.casefold),
        "in natural order": sorted(given, key=_natural),
        "in reverse order": given[::-1],
        "moved up by one": (*given[1:], given[0]),
        "moved down by one": (given[-1], *given[:-1]),
    }
    known = {given}
    for name, order in orders.items():
        if (other := tuple(order)) not in known:
            known.add(other)
            yield name, other


def matched_order(
    given: NDArray[np.bool_], truth: NDArray[np.bool_], labels: Sequence[str]
) -> tuple[str, ...]:
    """Return the order of the labels with which most answers would be right.

    The assignment of outputs to labels that the confusion matrix suggests (Kuhn 1955); an output
    about which the images say nothing keeps its label. `given`, `truth`: (N, K) each.
    """
    said, there = given.astype(np.int64), truth.astype(np.int64)
    agreement = said.T @ there + (1 - said).T @ (1 - there)
    ties = np.eye(len(labels))
    _, chosen = linear_sum_assignment(2 * agreement + ties, maximize=True)
    return tuple(labels[label] for label in chosen)


def reordered(
    logits: NDArray[np.float32], labels: Sequence[str], order: Sequence[str]
) -> NDArray[np.float32]:
    """Return logits (N, K) for `labels` of a network whose outputs are for labels in `order`."""
    return logits[:, [order.index(label) for label in labels]]


def _natural(label: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts 2 before 10."""
    parts = re.split(r"(\d+)", label.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]
