"""Where a model and the labels disagree: its surest mistakes, and labels that may be wrong."""

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leansight.sdk.evaluation.answers import Answers

MOST: Final = 24  # that a report shows of each kind


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One image of which the model says something else than its label.

    `score` is the probability of what it says; `index` is the image's position.
    """

    index: int
    path: str
    true: tuple[str, ...]
    predicted: tuple[str, ...]
    score: float


def surest_mistakes(answers: Answers, most: int = MOST) -> list[Mistake]:
    """Return the images that are wrong where the model is surest, surest first."""
    wrong = np.flatnonzero(~answers.right)
    if answers.task == "multilabel":  # S5: the images with the most wrong labels
        truth, given = answers.marks
        order = wrong[np.argsort(-(truth != given)[wrong].sum(axis=1), kind="stable")]
    else:
        order = wrong[np.argsort(-answers.scores[wrong], kind="stable")]
    return [_mistake(answers, int(index)) for index in order[:most]]


def likely_label_errors(answers: Answers, most: int = MOST) -> list[Mistake]:
    """Return the images whose label is probably wrong or missing, the likeliest first.

    Confident learning (Northcutt et al., arXiv 1911.00068), by cleanlab. What the model learnt
    from must not be among the images: it would repeat their labels.
    """
    with warnings.catch_warnings():
        # cleanlab warns of classes with few images; the page shows how many each has.
        warnings.simplefilter("ignore", UserWarning)
        found = _find_label_issues(answers)
    return [_mistake(answers, int(index)) for index in found[:most]]


def _find_label_issues(answers: Answers) -> NDArray[np.int64]:
    """Return positions, the likeliest first; none where there is nothing to confuse."""
    how: Any = {"return_indices_ranked_by": "self_confidence", "n_jobs": 1}
    found: NDArray[np.int64] = np.empty(0, np.int64)
    if answers.task == "multilabel":
        from cleanlab.multilabel_classification import filter as multilabel

        contrasted = ~answers.classes.all(axis=0)  # a label of every image has no contrast
        given = answers.classes[:, contrasted]
        if given.any():
            labels = [np.flatnonzero(row).tolist() for row in given]
            found = multilabel.find_label_issues(
                labels, answers.probabilities[:, contrasted], **how
            )
    elif len(np.unique(answers.classes)) > 1:
        from cleanlab import filter as one_label

        found = one_label.find_label_issues(answers.classes, answers.probabilities, **how)
    return found


def _mistake(answers: Answers, index: int) -> Mistake:
    _, given = answers.marks
    return Mistake(
        index=index,
        path=str(answers.samples[index].path),
        true=answers.samples[index].labels,
        predicted=tuple(answers.labels[k] for k in np.flatnonzero(given[index])),
        score=float(answers.scores[index]),
    )
