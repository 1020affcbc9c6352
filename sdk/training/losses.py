"""The losses: of labels, of a teacher."""

import torch
from torch import Tensor
from torch.nn import functional

from leansight.runtime.decision import Task
from leansight.sdk.recipes.schema import Distillation, Recipe


def teacher_loss(logits: Tensor, taught: Tensor, recipe: Distillation, task: Task) -> Tensor:
    """Return how far the logits (N, K) are from the teacher's, a scalar.

    The Kullback-Leibler divergence of both at the recipe's temperature, times its square, so
    that the gradient's size does not depend on it (Hinton et al., arXiv 1503.02531).
    """
    temperature = recipe.temperature
    if task == "multilabel":
        taught_yes = torch.sigmoid(taught / temperature)
        loss = functional.binary_cross_entropy_with_logits(
            logits / temperature, taught_yes, reduction="none"
        )
        return loss.sum(dim=1).mean() * temperature**2
    return (
        functional.kl_div(
            functional.log_softmax(logits / temperature, dim=1),
            functional.log_softmax(taught / temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        * temperature**2
    )


def clamped_binary_cross_entropy(logits: Tensor, targets: Tensor, clamp: float) -> Tensor:
    """Return S5's loss, a scalar: cross-entropies of (1 - 2c) σ(logit) + c, summed over labels.

    No probability is nearer to 0 or 1 than c, so that a wrong label in the data cannot pull
    without limit. Mean over the images; logits and targets (N, K).
    """
    if clamp == 0:
        loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    else:
        probabilities = (1 - 2 * clamp) * torch.sigmoid(logits) + clamp
        loss = functional.binary_cross_entropy(probabilities, targets, reduction="none")
    return loss.sum(dim=1).mean()


def label_loss(logits: Tensor, targets: Tensor, recipe: Recipe, weights: Tensor) -> Tensor:
    """Return the recipe's loss of logits (N, K), a scalar; weights (K,) are of the classes."""
    training = recipe.training
    if recipe.task == "multilabel":
        return clamped_binary_cross_entropy(logits, targets.float(), training.probability_clamp)
    return functional.cross_entropy(
        logits, targets, weights, label_smoothing=training.label_smoothing
    )
