"""Teachers answer by the mean of their probabilities."""

import numpy as np
import torch
from scipy.special import expit, softmax

from leansight.sdk.training.teachers import mean_answer

LOGITS = torch.tensor([[[2.0, -1.0, 0.5], [9.0, 3.0, -2.0]], [[-4.0, 0.0, 1.0], [0.0, 2.0, 5.0]]])


def test_several_teachers_answer_with_the_mean_of_their_probabilities() -> None:
    found = softmax(mean_answer(LOGITS, "classification").numpy(), axis=1)
    np.testing.assert_allclose(found, softmax(LOGITS.numpy(), axis=2).mean(0), rtol=1e-5)


def test_each_of_many_labels_has_the_mean_of_its_probabilities() -> None:
    found = expit(mean_answer(LOGITS, "multilabel").numpy())
    np.testing.assert_allclose(found, expit(LOGITS.numpy()).mean(0), rtol=1e-5)


def test_one_teacher_answers_as_it_does_alone() -> None:
    one = LOGITS[:1]
    np.testing.assert_allclose(mean_answer(one, "multilabel"), one[0], atol=1e-5)
    classes = softmax(mean_answer(one, "classification").numpy(), axis=1)
    np.testing.assert_allclose(classes, softmax(one[0].numpy(), axis=1), rtol=1e-5)


def test_teachers_that_are_very_sure_are_not_rounded_to_certainty() -> None:
    sure = torch.tensor([[[200.0, -200.0]], [[180.0, -180.0]]])
    for task in ("classification", "multilabel"):
        assert torch.isfinite(mean_answer(sure, task)).all()
    assert mean_answer(sure, "multilabel")[0, 0] > 100
