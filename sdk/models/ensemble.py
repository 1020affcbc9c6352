"""An ensemble: several bodies side by side, their features joined."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from leansight.sdk.models.backbones import TimmBody


class SideBySide(nn.Module):
    """Several bodies on one picture, the means of their features one after the other."""

    pooled: Final = True

    def __init__(self, bodies: Sequence[TimmBody]) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(bodies)
        self.features = sum(body.features for body in bodies)

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (N, channels, S, S) to features (N, features)."""
        # Flat before they are joined: four axes would cost the TFLite graph transpositions, and
        # torch-pruning loses count of what was flattened.
        return torch.cat([body(x).mean((2, 3)) for body in self.bodies], dim=1)
