"""Teachers: trained networks whose answers a training learns from."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from leansight.runtime.decision import Task
from leansight.sdk.models.networks import network_input
from leansight.sdk.runs.run import Run


class Teachers:
    """The networks of one run, or of several: then the mean of their probabilities is taught.

    Each sees a scene in its own preprocessing; see `preprocessings`.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.preprocessings = tuple(run.recipe.preprocessing for run in runs)
        self._networks = [run.network().to(memory_format=torch.channels_last) for run in runs]
        self._task = runs[0].recipe.task

    @torch.no_grad()
    def __call__(self, pixels: Sequence[Tensor]) -> Tensor:
        """Return logits (N, K) float32; `pixels`: (N, C, S, S) uint8 for each teacher."""
        logits = [
            network.to(own.device)(network_input(own))
            for network, own in zip(self._networks, pixels, strict=True)
        ]
        return mean_answer(torch.stack(logits), self._task)


def mean_answer(logits: Tensor, task: Task) -> Tensor:
    """Return logits (N, K) of the mean of the probabilities that logits (teachers, N, K) stand for.

    In logarithms, so that no probability is rounded to 0 or 1.
    """
    if task == "multilabel":
        yes, no = logsigmoid(logits).logsumexp(0), logsigmoid(-logits).logsumexp(0)
        return yes - no
    return log_softmax(logits, dim=-1).logsumexp(0) - math.log(len(logits))
