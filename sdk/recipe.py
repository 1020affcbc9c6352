"""How a classifier is made, as a TOML file: named ones ship with leansight, users write theirs."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.data import SplitBy

ModelName = Literal["resnet-custom"]
Schedule = Literal["one-cycle", "constant"]


@dataclass(frozen=True, kw_only=True)
class SplitRecipe:
    """`validation` is the share (0 to 1) of each class's videos or images that is held out."""

    by: SplitBy = "video"
    validation: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("split.by", self.by, get_args(SplitBy))
        _require(0 < self.validation < 1, "split.validation", self.validation, "between 0 and 1")


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
        for name in ("shift", "scale", "exposure", "contrast", "blur_probability"):
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
        ok = bool(self.blocks) and all(n >= 1 for n in self.blocks)
        _require(ok, "model.blocks", self.blocks, "a list of counts of 1 or more")
        _require(0 <= self.dropout < 1, "model.dropout", self.dropout, "from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class Training:
    """SGD with momentum; `learning_rate` is the peak of the one-cycle schedule.

    `class_weights` weighs the loss by inverse class counts; training stops early after
    `patience` epochs without a better validation accuracy (0: never).
    """

    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    schedule: Schedule = "one-cycle"
    class_weights: bool = True
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("training.schedule", self.schedule, get_args(Schedule))
        for name in ("epochs", "batch_size"):
            _require(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "1 or more")
        _require(self.learning_rate > 0, "training.learning_rate", self.learning_rate, "above 0")
        for name in ("momentum", "label_smoothing"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"training.{name}", value, "from 0 to below 1")
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
        model = dict(values.get("model", {}))
        if "blocks" in model:
            model["blocks"] = tuple(model["blocks"])
        return cls(
            **{
                **values,
                "preprocessing": Preprocessing.from_dict(values.get("preprocessing", {})),
                "split": SplitRecipe(**values.get("split", {})),
                "augmentation": Augmentation(**values.get("augmentation", {})),
                "model": ModelRecipe(**model),
                "training": Training(**values.get("training", {})),
                "decision": DecisionPolicy.from_dict(values.get("decision", {})),
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


def _require(fits: bool, name: str, value: object, expected: str) -> None:  # noqa: FBT001 -- a condition, as in assert
    if not fits:
        raise ValueError(f"{name} must be {expected}, not {value}")


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    _require(value in allowed, name, repr(value), f"one of {', '.join(allowed)}")
