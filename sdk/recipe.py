"""How a classifier is made, as a TOML file: named ones ship with leansight, users write theirs."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Clahe, Preprocessing
from leansight.sdk.data import SplitBy

ModelName = Literal["resnet-custom"]
Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["one-cycle", "constant"]

MAX_SEED: Final = 2**32 - 1  # numpy's
# What a TOML value must be, by the type of its field; Literals are texts.
_VALUES: Final[Mapping[Any, tuple[str, tuple[type, ...]]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a text", (str,)),
    Literal: ("a text", (str,)),
    tuple: ("a list", (list, tuple)),
}
_TABLE: Final = ("a table", (Mapping, type(None)))


@dataclass(frozen=True, kw_only=True)
class SplitRecipe:
    """`validation` is the share (0 to 1) of each class's videos or images that is held out."""

    by: SplitBy = "video"
    validation: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("split.by", self.by, get_args(SplitBy))
        _require(0 < self.validation < 1, "split.validation", self.validation, "between 0 and 1")
        _require(0 <= self.seed <= MAX_SEED, "split.seed", self.seed, f"from 0 to {MAX_SEED}")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of each training image; 0 turns one off.

    `rotation_degrees` to either side; `shift`, `scale`: share of the side length; `exposure`,
    `contrast`: largest relative change (0.5: ×0.5 to ×1.5); `blur_probability` of a Gaussian
    blur of σ 0.3 to 1.5 pixels.
    """

    rotation_degrees: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    exposure: float = 0.0
    contrast: float = 0.0
    blur_probability: float = 0.0

    def __post_init__(self) -> None:
        degrees = self.rotation_degrees
        _require(0 <= degrees <= 180, "augmentation.rotation_degrees", degrees, "from 0 to 180")  # noqa: PLR2004 -- half a turn
        _require(0 <= self.scale < 1, "augmentation.scale", self.scale, "from 0 to below 1")
        for name in ("shift", "exposure", "contrast", "blur_probability"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"augmentation.{name}", value, "from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """The network: `width` filters in the stem, `blocks` per stage, `dropout` before the head."""

    name: ModelName = "resnet-custom"
    width: int = 16
    blocks: tuple[int, ...] = (3, 4, 6)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        _one_of("model.name", self.name, get_args(ModelName))
        _require(self.width >= 1, "model.width", self.width, "1 or more")
        ok = bool(self.blocks) and all(isinstance(n, int) and n >= 1 for n in self.blocks)
        _require(ok, "model.blocks", self.blocks, "a list of counts of 1 or more")
        _require(0 <= self.dropout < 1, "model.dropout", self.dropout, "from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the weights are found; `learning_rate` is the peak of the one-cycle schedule.

    `momentum` is SGD's. In the first `half_size_share` (0 to below 1) of the epochs every picture
    has half its side: they cost a quarter, and the network finds its way faster (progressive
    resizing; EfficientNetV2, arXiv 2104.00298, section 4). `class_weights` weighs the loss by
    inverse class counts; training stops early after `patience` epochs without a better
    validation accuracy (0: never).
    """

    epochs: int = 12
    half_size_share: float = 0.0
    batch_size: int = 32
    optimiser: Optimiser = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    schedule: Schedule = "one-cycle"
    class_weights: bool = True
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("training.optimiser", self.optimiser, get_args(Optimiser))
        _one_of("training.schedule", self.schedule, get_args(Schedule))
        for name in ("epochs", "batch_size"):
            _require(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "1 or more")
        _require(self.learning_rate > 0, "training.learning_rate", self.learning_rate, "above 0")
        for name in ("momentum", "label_smoothing", "half_size_share"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"training.{name}", value, "from 0 to below 1")
        _require(0 <= self.seed <= MAX_SEED, "training.seed", self.seed, f"from 0 to {MAX_SEED}")
        for name in ("weight_decay", "patience"):
            _require(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "0 or more")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a classifier is made, validated."""

    name: str
    description: str
    preprocessing: Preprocessing
    split: SplitRecipe = field(default_factory=SplitRecipe)
    augmentation: Augmentation = field(default_factory=Augmentation)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    training: Training = field(default_factory=Training)
    decision: DecisionPolicy = field(default_factory=DecisionPolicy)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Build from the tables of a TOML file.

        Raises:
            ValueError: a value is out of its range.
            TypeError: a name is unknown or missing, or a value has another type.

        """
        table = _table("", cls, values)
        model = _table("model", ModelRecipe, table.get("model", {}))
        if "blocks" in model:
            model["blocks"] = tuple(model["blocks"])
        preprocessing = _table("preprocessing", Preprocessing, table.get("preprocessing", {}))
        _table("preprocessing.clahe", Clahe, preprocessing.get("clahe") or {})
        decision = _table("decision", DecisionPolicy, table.get("decision", {}))
        augmentation = _table("augmentation", Augmentation, table.get("augmentation", {}))
        return cls(
            **{
                **table,
                "preprocessing": Preprocessing.from_dict(preprocessing),
                "split": SplitRecipe(**_table("split", SplitRecipe, table.get("split", {}))),
                "augmentation": Augmentation(**augmentation),
                "model": ModelRecipe(**model),
                "training": Training(**_table("training", Training, table.get("training", {}))),
                "decision": DecisionPolicy.from_dict(decision),
            }
        )


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with leansight."""
    files = resources.files("leansight.sdk") / "recipes"
    return sorted(f.name.removesuffix(".toml") for f in files.iterdir() if f.name.endswith(".toml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by its name, or a user's by its path.

    Each override is KEY=VALUE with a dotted key and a TOML value, such as
    `training.epochs=3` or `model.name=resnet-custom` (a bare word is a string).

    Raises:
        DataError: no such recipe, no valid TOML, or a key or value that does not fit.

    """
    try:
        values = tomllib.loads(_recipe_text(name_or_path))
        for override in overrides:
            _override(values, override)
        return Recipe.from_dict(values)
    except (ValueError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"recipe {name_or_path}: {error}") from error


def _recipe_text(name_or_path: str) -> str:
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise DataError(f"recipe {path} does not exist")
        return path.read_text()
    if name_or_path not in recipe_names():
        names = ", ".join(recipe_names())
        raise DataError(f"no recipe {name_or_path}: there are {names}, or give a .toml file")
    return (resources.files("leansight.sdk") / "recipes" / f"{name_or_path}.toml").read_text()


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise DataError(f"--set {override}: expected KEY=VALUE, such as training.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise DataError(f"--set {override}: {table} is a value, not a table")
    values[last] = value


def _table(name: str, kind: type, values: object) -> dict[str, Any]:
    """Hold a table against the fields of a dataclass, so that the message names the key."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{name or 'a recipe'} must be a table, not {values!r}")
    fields = get_type_hints(kind)
    for key, value in values.items():
        where = f"{name}.{key}" if name else key
        if key not in fields:
            raise TypeError(f"{where} is unknown; expected one of {', '.join(fields)}")
        expected, types = _VALUES.get(get_origin(fields[key]) or fields[key], _TABLE)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise TypeError(f"{where} must be {expected}, not {value!r}")
    return dict(values)


def _require(fits: bool, name: str, value: object, expected: str) -> None:  # noqa: FBT001 -- a condition, as in assert
    if not fits:
        raise ValueError(f"{name} must be {expected}, not {value}")


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    _require(value in allowed, name, repr(value), f"one of {', '.join(allowed)}")
