"""How a classifier is made, as a TOML file: named ones ship with leansight, users write theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

from leansight.runtime.decision import DecisionPolicy, Task
from leansight.runtime.preprocessing import VERSION, Preprocessing
from leansight.sdk.augmentation.change import Change
from leansight.sdk.recipes.parse import build_section

Layout = Literal["auto", "folders", "gtsrb", "belgiumts", "bdd100k", "csv"]
SplitBy = Literal["video", "image"]
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
Optimiser = Literal["sgd", "adam", "nadam", "adamw"]
Schedule = Literal["one-cycle", "constant", "plateau", "steps"]
TrainingPrecision = Literal["auto", "float32", "bfloat16"]
ChooseBy = Literal["accuracy", "shifted accuracy", "loss"]
# What only "plain-cnn" may have otherwise.
PLAIN_CNN: Final = ("widths", "stem_stride", "block", "downsampling", "body_batch_norm")
MAX_COUNT: Final = 1 << 16  # of channels, blocks or images in a batch: more is a slip
MAX_SEED: Final = 2**32 - 1  # numpy's
RGB: Final = 3


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Which images are learnt from.

    `layout` of the folder ("auto": found out); `videos` says by which part of a file name frames
    belong to one video: "auto" (found out), "none", or a regular expression for the name without
    its suffix, with the video in parentheses; `regions` cuts each image to the region that its
    label file gives; `per_class` caps the training images of a class (0: no cap), drawn evenly
    by chance, so that rare classes stay whole; images of the rarest label are seen
    `rarest_repeats` times an epoch.
    """

    layout: Layout = "auto"
    videos: str = "auto"
    regions: bool = False
    per_class: int = 0
    rarest_repeats: int = 1

    def __post_init__(self) -> None:
        _one_of("data.layout", self.layout, get_args(Layout))
        _require(self.per_class >= 0, "data.per_class", self.per_class, "0 or more")
        repeats = self.rarest_repeats
        _require(repeats >= 1, "data.rarest_repeats", repeats, "1 or more")


@dataclass(frozen=True, kw_only=True)
class SplitRecipe:
    """Which samples are held out, drawn within each class over whole videos or single images.

    `validation` and `test` are shares (0 to 1) of each class. With `folds` (2 or more; 0: one
    split) what is left beside the test is cut into as many parts, and part `fold` (from 0)
    is the validation set.
    """

    by: SplitBy = "video"
    validation: float = 0.2
    test: float = 0.0
    folds: int = 0
    fold: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("split.by", self.by, get_args(SplitBy))
        _require(0 < self.validation < 1, "split.validation", self.validation, "between 0 and 1")
        rest = 1 - self.validation
        _require(0 <= self.test < rest, "split.test", self.test, f"from 0 to below {rest:g}")
        folds_fit = self.folds == 0 or self.folds > 1
        _require(folds_fit, "split.folds", self.folds, "0, or 2 or more")
        last = max(self.folds - 1, 0)
        _require(0 <= self.fold <= last, "split.fold", self.fold, f"from 0 to {last}")
        _require(0 <= self.seed <= MAX_SEED, "split.seed", self.seed, f"from 0 to {MAX_SEED}")


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
        _one_of("model.name", self.name, get_args(ModelName))
        _require(self.width >= 1, "model.width", self.width, "1 or more")
        _require(self.width <= MAX_COUNT, "model.width", self.width, f"at most {MAX_COUNT}")
        for name in ("blocks", "widths", "head", "filters", "kernels", "pools"):
            counts = getattr(self, name)
            ok = all(isinstance(n, int) and n >= 1 for n in counts) and (counts or name != "blocks")
            _require(bool(ok), f"model.{name}", counts, "a list of counts of 1 or more")
            few = sum(counts) <= MAX_COUNT
            _require(few, f"model.{name}", sum(counts), f"at most {MAX_COUNT} together")
        self._check_plain_cnn()
        own = ("resnet-custom", "plain-cnn", "masks-cnn", "mixed-blocks", "unpadded-cnn")
        for body in self.bodies:
            allowed = [n for n in get_args(ModelName) if n not in (*own, "ensemble")]
            _one_of("model.bodies", body, allowed)
        several = len(self.bodies) > 1 if self.name == "ensemble" else not self.bodies
        _require(several, "model.bodies", self.bodies, 'two or more for "ensemble", else none')
        for value in (self.dropout, *self.head_dropout):
            _require(0 <= value < 1, "model.dropout", value, "from 0 to below 1")
        each = len(self.head_dropout) in (0, len(self.head))
        _require(each, "model.head_dropout", self.head_dropout, "one number for each of model.head")
        pretrained = self.pretrained and self.name in own
        _require(not pretrained, "model.pretrained", "true", f"false: {self.name} has no weights")
        self._check_unpadded_cnn()
        self._check_normalisation()
        flattens = not self.flatten or (self.head and self.name != "ensemble")
        needs = 'false without a model.head, and for "ensemble"'
        _require(bool(flattens), "model.flatten", "true", needs)

    def _check_unpadded_cnn(self) -> None:
        counts = [len(self.filters), len(self.kernels), len(self.pools)]
        alike = min(counts) == max(counts) and (self.name == "unpadded-cnn") == (counts[0] > 0)
        expected = 'as many as model.kernels and model.pools: some for "unpadded-cnn", else none'
        _require(alike, "model.filters", self.filters, expected)

    def _check_normalisation(self) -> None:
        for name, least in (("mean", 0.0), ("deviation", 1e-6)):
            values = getattr(self, name)
            ok = all(least <= v <= 1 for v in values) and len(values) in (0, RGB)
            _require(ok, f"model.{name}", values, f"of red, green and blue, from {least:g} to 1")
        both = bool(self.mean) == bool(self.deviation)
        _require(both, "model.deviation", self.deviation, "given with model.mean, or neither")
        normalised = self.data_normalisation or bool(self.mean)
        fits = self.pretrained or not normalised
        what = "true: only pretrained weights expect a normalisation"
        _require(fits, "model.pretrained", "false", what)

    def _check_plain_cnn(self) -> None:
        each = len(self.widths) in (0, len(self.blocks))
        _require(each, "model.widths", self.widths, "one number for each of model.blocks")
        _require(self.stem_stride in (1, 2), "model.stem_stride", self.stem_stride, "1 or 2")
        _one_of("model.block", self.block, get_args(Block))
        _one_of("model.downsampling", self.downsampling, get_args(Downsampling))
        for name in PLAIN_CNN:
            value = getattr(self, name)
            fits = self.name == "plain-cnn" or value == getattr(ModelRecipe, name)
            _require(fits, f"model.{name}", value, 'left out (only "plain-cnn" has it)')

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Filters of each stage of our own networks."""
        return self.widths or tuple(self.width << stage for stage in range(len(self.blocks)))


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the weights are found.

    Schedules: `learning_rate` is the peak of "one-cycle" (per batch); "constant"; "plateau"
    multiplies it by `drop_factor` after `plateau_patience` epochs without a better validation
    loss; "steps" at each epoch of `drop_epochs`. `find_learning_rate` looks for it first
    (Smith, arXiv 1506.01186). Each stage of the body learns `layer_decay` times as fast as the
    one above it. Of the body only the last `trainable_layers` (convolutions with their batch
    norm) learn (-1: all, 0: none), until `unfreeze_epoch` (0: for good).

    In the first `half_size_share` (0 to below 1) of the epochs every picture has half its side:
    they cost a quarter, and the network finds its way faster (progressive resizing;
    EfficientNetV2, arXiv 2104.00298, section 4). Pictures are augmented at `scene_scale` times
    the network's side.

    `momentum` is SGD's; `average_decay` that of an exponential moving average of the weights,
    which is then validated and kept (0: none). `class_weights` weighs the loss by inverse class
    counts; `probability_clamp` c keeps many-label probabilities in [c, 1 - c] (S5: 0.005).
    The epoch that is best by `choose_by` is kept; training stops early after `patience` epochs
    (0: never) in which that has not improved by `min_delta`.
    """

    epochs: int = 12
    batch_size: int = 32
    half_size_share: float = 0.0
    scene_scale: float = 1.0
    optimiser: Optimiser = "sgd"
    learning_rate: float = 0.05
    find_learning_rate: bool = False
    momentum: float = 0.9
    weight_decay: float = 5e-4
    layer_decay: float = 1.0
    trainable_layers: int = -1
    unfreeze_epoch: int = 0
    schedule: Schedule = "one-cycle"
    drop_factor: float = 0.1
    plateau_patience: int = 3
    drop_epochs: tuple[int, ...] = ()
    average_decay: float = 0.0
    label_smoothing: float = 0.0
    probability_clamp: float = 0.0
    class_weights: bool = True
    choose_by: ChooseBy = "accuracy"
    patience: int = 0
    min_delta: float = 0.0
    precision: TrainingPrecision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (
            ("optimiser", Optimiser),
            ("schedule", Schedule),
            ("precision", TrainingPrecision),
            ("choose_by", ChooseBy),
        ):
            _one_of(f"training.{name}", getattr(self, name), get_args(kind))
        for name in ("epochs", "batch_size", "scene_scale"):
            _require(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "1 or more")
        size = self.batch_size
        _require(size <= MAX_COUNT, "training.batch_size", size, f"at most {MAX_COUNT}")
        for name in ("learning_rate", "layer_decay", "drop_factor"):
            _require(getattr(self, name) > 0, f"training.{name}", getattr(self, name), "above 0")
        for name in ("momentum", "label_smoothing", "half_size_share", "average_decay"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"training.{name}", value, "from 0 to below 1")
        clamp = self.probability_clamp
        _require(0 <= 2 * clamp < 1, "training.probability_clamp", clamp, "from 0 to below 0.5")
        _require(0 <= self.seed <= MAX_SEED, "training.seed", self.seed, f"from 0 to {MAX_SEED}")
        for name in ("weight_decay", "patience", "min_delta", "unfreeze_epoch", "plateau_patience"):
            _require(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "0 or more")
        layers = self.trainable_layers
        _require(layers >= -1, "training.trainable_layers", layers, "-1 or more")


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """What the network learns from a teacher (Hinton et al., arXiv 1503.02531).

    `share` (0 to 1) of the loss is the distance to the teacher's probabilities at `temperature`
    (above 0), the rest the labels'. It applies where a teacher is given.
    """

    share: float = 0.7
    temperature: float = 3.0

    def __post_init__(self) -> None:
        _require(0 <= self.share <= 1, "distillation.share", self.share, "from 0 to 1")
        _require(self.temperature > 0, "distillation.temperature", self.temperature, "above 0")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a classifier is made, validated.

    `shift` lists the changes of a copy of the validation images, made once: how well the network
    travels is measured on it, without a look at the test set.
    """

    name: str
    description: str
    preprocessing: Preprocessing
    system: str = ""
    task: Task = "classification"
    data: DataRecipe = field(default_factory=DataRecipe)
    split: SplitRecipe = field(default_factory=SplitRecipe)
    augmentation: tuple[Change, ...] = ()
    shift: tuple[Change, ...] = ()
    model: ModelRecipe = field(default_factory=ModelRecipe)
    training: Training = field(default_factory=Training)
    distillation: Distillation = field(default_factory=Distillation)
    decision: DecisionPolicy = field(default_factory=DecisionPolicy)

    def __post_init__(self) -> None:
        _one_of("task", self.task, get_args(Task))
        version = self.preprocessing.version
        _require(version == VERSION, "preprocessing.version", version, f"{VERSION}, or left out")
        shifted = self.shift or self.training.choose_by != "shifted accuracy"
        _require(bool(shifted), "shift", "[]", "a list of changes: training.choose_by needs it")
        half = self.training.half_size_share
        one_size = half == 0 or not self.model.flatten
        _require(one_size, "training.half_size_share", half, "0: model.flatten takes one size")

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, as plain JSON values."""
        values = asdict(self)
        for name in ("augmentation", "shift"):
            values[name] = [{"change": c.kind, **asdict(c)} for c in getattr(self, name)]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Build from the tables of a TOML file.

        Raises:
            ValueError: a value is out of its range.
            TypeError: a name is unknown or missing, or a value has another type.

        """
        recipe = build_section(cls, "", values)
        assert isinstance(recipe, cls)
        return recipe


def _require(fits: bool, name: str, value: object, expected: str) -> None:  # noqa: FBT001 -- a condition, as in assert
    if not fits:
        raise ValueError(f"{name} must be {expected}, not {value}")


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    _require(value in allowed, name, repr(value), f"one of {', '.join(allowed)}")
