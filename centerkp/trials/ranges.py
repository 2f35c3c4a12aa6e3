"""Ranges of settings that a search tries: read from texts such as "rotation=0..45", checked, and drawn from by Optuna."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from centerkp.settings.training import TrainSettings
from centerkp.wording import suggest

# Those that matter for most data and cost nothing; sizes and networks change what a trial takes.
DEFAULT = (
    "learning_rate=0.0001..0.004",
    "weight_decay=0.00001..0.01",
    "vector_rate=1..16",
    "rotation=0..45",
    "color=true,false",
)
LOGARITHMIC = 10  # a range of so many times its least value is searched by factors
_OF_ALL = ("run", "folds")  # settings of the whole search: where its trials are, and what they are judged on
_BOOLS = {"true": True, "false": False}


@dataclass(frozen=True)
class Range:
    """The values of one setting that a search tries: `choices`, or where there are none all from `low` to `high`."""

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0

    def make_distribution(self, optuna: Any) -> Any:
        """The range as Optuna knows it."""
        if self.choices:
            return optuna.distributions.CategoricalDistribution(self.choices)
        log = self.low > 0 and self.high >= LOGARITHMIC * self.low
        kind = "IntDistribution" if isinstance(self.low, int) else "FloatDistribution"
        return getattr(optuna.distributions, kind)(self.low, self.high, log=log)


def read_ranges(texts: Sequence[str], settings: TrainSettings) -> tuple[Range, ...]:
    """The ranges of a search in words: "rotation=0..45" for all values between, "batch_size=4,8,16" for some.

    Raises:
        ValueError: one names no setting, or has values that the setting cannot have; says which.
    """
    ranges = tuple(_read_range(text, settings) for text in texts)
    names = [one.name for one in ranges]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--search: found {name} more than once, expected one range of it.")
    return ranges


def _read_range(text: str, settings: TrainSettings) -> Range:
    """One range out of its text, its ends or choices tried on the settings."""
    name, _, values = (part.strip() for part in text.partition("="))
    known = {one.name: one.type for one in fields(TrainSettings)}
    if name not in known:
        raise ValueError(f"--search: found '{text}', expected the name of a setting and its values{suggest(name, known)}.")
    if name in _OF_ALL:
        raise ValueError(
            f"--search: found '{text}', expected a setting in which trainings can differ; leave it out of the ranges."
        )
    kinds = get_args(known[name]) or (known[name],)
    kind: Any = next((k for k in (bool, int, float) if k in kinds), str)
    parts = values.split("..") if ".." in values else values.split(",")
    if str in kinds and not all(part.strip().isdecimal() for part in parts):
        kind = str  # such as 320x192 among numbers of pixels
    try:
        read: tuple[Any, ...] = tuple(_BOOLS[part.strip().lower()] if kind is bool else kind(part.strip()) for part in parts)
        taken = tuple(getattr(replace(settings, **{name: value}), name) for value in read)
        if ".." not in values:
            return Range(name, taken)  # as the settings have them: "320" beside "320x192" is a number there
        low, high = read
        if kind in (int, float) and low < high:
            return Range(name, (), low, high)
    except (ValueError, KeyError) as error:
        raise ValueError(f"--search: found '{text}', expected as in {DEFAULT[0]} or batch_size=4,8 ({error}).") from None
    raise ValueError(f"--search: found '{text}', expected numbers from low to high, as in {DEFAULT[0]}.")
