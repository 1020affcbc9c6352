"""The `[model]` table of a recipe: which network, of what shape."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from leansight.sdk.recipes.checks import MAX_COUNT, check, check_one_of

ModelName = Literal[
    # our own
    "resnet-custom",
    "plain-cnn",
    "masks-cnn",
    "mixed-blocks",
    "unpadded-cnn",
    # timm's, by their name there
    "resnet50",
    "resnetv2_50",
    "mobilenetv1_100",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "efficientnet_lite0",
    "vgg19",
    "inception_resnet_v2",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "densenet201",
    # several of timm's side by side: `bodies`
    "ensemble",
]
Block = Literal["plain", "residual"]
Downsampling = Literal["max-pool", "stride"]
# What only "plain-cnn" may have otherwise.
_PLAIN_CNN: Final = ("widths", "stem_stride", "block", "downsampling", "body_batch_norm")
# They have no ImageNet weights.
_OWN: Final = ("resnet-custom", "plain-cnn", "masks-cnn", "mixed-blocks", "unpadded-cnn")
_RGB: Final = 3


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """The network: a body, then `head` (hidden dense layers, by their width) and the output.

    `width` filters in the stem and `blocks` per stage are those of our own networks, whose later
    stages have twice as many filters as the one before. Only "plain-cnn", of 3×3 convolutions,
    has the choice of `widths` (filters of each stage; none: from `width`), `stem_stride` (1 or 2,
    of the first convolution), the kind of `block`, `downsampling` between stages, and
    `body_batch_norm` after each convolution. `bodies` are the ensemble's.
    "unpadded-cnn" has, for each convolution in order, its `filters`, the side of its kernel
    (`kernels`) and of the maximum pooling after it (`pools`; 1: none).

    The head reads the mean of the features over the picture, or with `flatten` the features of
    every position. `dropout` is before the head, `head_dropout` after each hidden layer (one
    number for each), `head_batch_norm` before its ReLU.

    `pretrained`: the body starts from ImageNet weights. These see pixels normalised by the `mean`
    and `deviation` of red, green and blue (of 1; empty: those that the weights were trained
    with). `data_normalisation` measures both of the training images when a training begins.
    """

    name: ModelName = "resnet-custom"
    width: int = 16
    blocks: tuple[int, ...] = (3, 4, 6)
    widths: tuple[int, ...] = ()
    stem_stride: int = 1
    block: Block = "plain"
    downsampling: Downsampling = "max-pool"
    body_batch_norm: bool = False
    bodies: tuple[str, ...] = ()
    filters: tuple[int, ...] = ()
    kernels: tuple[int, ...] = ()
    pools: tuple[int, ...] = ()
    pretrained: bool = False
    data_normalisation: bool = False
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    flatten: bool = False
    dropout: float = 0.2
    head: tuple[int, ...] = ()
    head_dropout: tuple[float, ...] = ()
    head_batch_norm: bool = False

    def __post_init__(self) -> None:
        check_one_of("model.name", self.name, get_args(ModelName))
        check(self.width >= 1, "model.width", self.width, "1 or more")
        check(self.width <= MAX_COUNT, "model.width", self.width, f"at most {MAX_COUNT}")
        for name in ("blocks", "widths", "head", "filters", "kernels", "pools"):
            counts = getattr(self, name)
            ok = all(isinstance(n, int) and n >= 1 for n in counts) and (counts or name != "blocks")
            check(bool(ok), f"model.{name}", counts, "a list of counts of 1 or more")
            few = sum(counts) <= MAX_COUNT
            check(few, f"model.{name}", sum(counts), f"at most {MAX_COUNT} together")
        self._check_plain_cnn()
        self._check_unpadded_cnn()
        self._check_ensemble()
        self._check_head()
        pretrained = self.pretrained and self.name in _OWN
        check(not pretrained, "model.pretrained", "true", f"false: {self.name} has no weights")
        self._check_normalisation()

    def _check_plain_cnn(self) -> None:
        alone = not self.widths or self.width == ModelRecipe.width
        check(alone, "model.width", self.width, "left out: model.widths says it of each stage")
        each = len(self.widths) in (0, len(self.blocks))
        check(each, "model.widths", self.widths, "one number for each of model.blocks")
        check(self.stem_stride in (1, 2), "model.stem_stride", self.stem_stride, "1 or 2")
        check_one_of("model.block", self.block, get_args(Block))
        check_one_of("model.downsampling", self.downsampling, get_args(Downsampling))
        for name in _PLAIN_CNN:
            value = getattr(self, name)
            fits = self.name == "plain-cnn" or value == getattr(ModelRecipe, name)
            check(fits, f"model.{name}", value, 'left out (only "plain-cnn" has it)')

    def _check_unpadded_cnn(self) -> None:
        counts = [len(self.filters), len(self.kernels), len(self.pools)]
        alike = min(counts) == max(counts) and (self.name == "unpadded-cnn") == (counts[0] > 0)
        expected = 'as many as model.kernels and model.pools: some for "unpadded-cnn", else none'
        check(alike, "model.filters", self.filters, expected)

    def _check_ensemble(self) -> None:
        for body in self.bodies:
            allowed = [n for n in get_args(ModelName) if n not in (*_OWN, "ensemble")]
            check_one_of("model.bodies", body, allowed)
        several = len(self.bodies) > 1 if self.name == "ensemble" else not self.bodies
        check(several, "model.bodies", self.bodies, 'two or more for "ensemble", else none')

    def _check_head(self) -> None:
        for value in (self.dropout, *self.head_dropout):
            check(0 <= value < 1, "model.dropout", value, "from 0 to below 1")
        each = len(self.head_dropout) in (0, len(self.head))
        check(each, "model.head_dropout", self.head_dropout, "one number for each of model.head")
        flattens = not self.flatten or (self.head and self.name != "ensemble")
        needs = 'false without a model.head, and for "ensemble"'
        check(bool(flattens), "model.flatten", "true", needs)

    def _check_normalisation(self) -> None:
        for name, least in (("mean", 0.0), ("deviation", 1e-6)):
            values = getattr(self, name)
            ok = all(least <= v <= 1 for v in values) and len(values) in (0, _RGB)
            check(ok, f"model.{name}", values, f"of red, green and blue, from {least:g} to 1")
        both = bool(self.mean) == bool(self.deviation)
        check(both, "model.deviation", self.deviation, "given with model.mean, or neither")
        normalised = self.data_normalisation or bool(self.mean)
        fits = self.pretrained or not normalised
        what = "true: only pretrained weights expect a normalisation"
        check(fits, "model.pretrained", "false", what)

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Filters of each stage of our own networks."""
        return self.widths or tuple(self.width << stage for stage in range(len(self.blocks)))
