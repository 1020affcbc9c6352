"""How a classifier is made, as a TOML file: named ones ship with leansight, users write theirs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

from leansight.runtime.decision import DecisionPolicy, Task
from leansight.runtime.preprocessing import VERSION, Preprocessing
from leansight.sdk.augmentation.change import Change
from leansight.sdk.recipes.checks import MAX_COUNT, check, check_one_of
from leansight.sdk.recipes.model import ModelRecipe
from leansight.sdk.recipes.parse import build_section

Layout = Literal["auto", "folders", "gtsrb", "belgiumts", "bdd100k", "csv"]
SplitBy = Literal["video", "image"]
Optimiser = Literal["sgd", "adam", "nadam", "adamw"]
Schedule = Literal["one-cycle", "constant", "plateau", "steps"]
TrainingPrecision = Literal["auto", "float32", "bfloat16"]
ChooseBy = Literal["accuracy", "shifted accuracy", "loss"]
MAX_SEED: Final = 2**32 - 1  # numpy's


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
        check_one_of("data.layout", self.layout, get_args(Layout))
        check(self.per_class >= 0, "data.per_class", self.per_class, "0 or more")
        repeats = self.rarest_repeats
        check(repeats >= 1, "data.rarest_repeats", repeats, "1 or more")


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
        check_one_of("split.by", self.by, get_args(SplitBy))
        check(0 < self.validation < 1, "split.validation", self.validation, "between 0 and 1")
        rest = 1 - self.validation
        check(0 <= self.test < rest, "split.test", self.test, f"from 0 to below {rest:g}")
        folds_fit = self.folds == 0 or self.folds > 1
        check(folds_fit, "split.folds", self.folds, "0, or 2 or more")
        last = max(self.folds - 1, 0)
        check(0 <= self.fold <= last, "split.fold", self.fold, f"from 0 to {last}")
        check(0 <= self.seed <= MAX_SEED, "split.seed", self.seed, f"from 0 to {MAX_SEED}")


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
            check_one_of(f"training.{name}", getattr(self, name), get_args(kind))
        for name in ("epochs", "batch_size", "scene_scale"):
            check(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "1 or more")
        size = self.batch_size
        check(size <= MAX_COUNT, "training.batch_size", size, f"at most {MAX_COUNT}")
        for name in ("learning_rate", "layer_decay", "drop_factor"):
            check(getattr(self, name) > 0, f"training.{name}", getattr(self, name), "above 0")
        for name in ("momentum", "label_smoothing", "half_size_share", "average_decay"):
            value = getattr(self, name)
            check(0 <= value < 1, f"training.{name}", value, "from 0 to below 1")
        clamp = self.probability_clamp
        check(0 <= 2 * clamp < 1, "training.probability_clamp", clamp, "from 0 to below 0.5")
        check(0 <= self.seed <= MAX_SEED, "training.seed", self.seed, f"from 0 to {MAX_SEED}")
        for name in ("weight_decay", "patience", "min_delta", "unfreeze_epoch", "plateau_patience"):
            check(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "0 or more")
        layers = self.trainable_layers
        check(layers >= -1, "training.trainable_layers", layers, "-1 or more")


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """What the network learns from a teacher (Hinton et al., arXiv 1503.02531).

    `share` (0 to 1) of the loss is the distance to the teacher's probabilities at `temperature`
    (above 0), the rest the labels'. It applies where a teacher is given.
    """

    share: float = 0.7
    temperature: float = 3.0

    def __post_init__(self) -> None:
        check(0 <= self.share <= 1, "distillation.share", self.share, "from 0 to 1")
        check(self.temperature > 0, "distillation.temperature", self.temperature, "above 0")


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
        check_one_of("task", self.task, get_args(Task))
        version = self.preprocessing.version
        check(version == VERSION, "preprocessing.version", version, f"{VERSION}, or left out")
        shifted = self.shift or self.training.choose_by != "shifted accuracy"
        check(bool(shifted), "shift", "[]", "a list of changes: training.choose_by needs it")
        half = self.training.half_size_share
        one_size = half == 0 or not self.model.flatten
        check(one_size, "training.half_size_share", half, "0: model.flatten takes one size")

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
