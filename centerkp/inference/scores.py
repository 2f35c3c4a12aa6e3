"""From which score on an object counts: as somebody says, as the model knows from its own validation images, or 0.3."""

from collections.abc import Sequence
from dataclasses import dataclass

from centerkp.inference.detector import Detector
from centerkp.results import DEFAULT_SCORE, Detection, Thresholds
from centerkp.schema import Schema
from centerkp.wording import count_of

NAMED = 6  # classes; of more the sentence says the range alone


@dataclass(frozen=True)
class LeastScores:
    """The least score of an object by class, (C,) in the schema's order, and the sentence for the user: which, and why."""

    values: tuple[float, ...]
    sentence: str

    def keep(self, detections: Sequence[Detection]) -> list[Detection]:
        """Those of an image's detections whose score counts."""
        return [d for d in detections if d.score >= self.values[d.class_id]]


def check_score(given: float) -> None:
    """Raises ValueError for a least score of objects that no object could have."""
    if not 0 <= given <= 1:
        raise ValueError(f"score: found {given:g}, expected a number from 0 to 1.")


def choose_least_scores(detector: Detector, given: float | None = None) -> LeastScores:
    """The least scores for what a detector finds: the given one, else those stored with it, else `DEFAULT_SCORE`.

    Raises:
        ValueError: the given one is no score.
    """
    schema = detector.schema
    if given is not None:
        check_score(given)
        return LeastScores((given,) * schema.num_classes, f"least score {given:g}, as given")
    stored = getattr(detector, "thresholds", None)  # a detector that somebody wrote in Python need not know any
    if stored is None:
        why = "since none is stored with the model; centerkp eval finds its best, --score sets it"
        return LeastScores((DEFAULT_SCORE,) * schema.num_classes, f"least score {DEFAULT_SCORE:g}, {why}")
    sentence = _describe_stored(stored, schema)
    return LeastScores(stored.scores, sentence + getattr(detector, "thresholds_note", ""))


def _describe_stored(stored: Thresholds, schema: Schema) -> str:
    """The sentence on least scores that are stored with a model, which calls a guess what few objects decided."""
    named = list(zip(schema.class_names, stored.scores, stored.objects, strict=True))
    if len(named) == 1:
        shown = f"least score {stored.scores[0]:.3g}"
    elif len(named) <= NAMED:
        shown = "least scores " + ", ".join(f"{name} {score:.3g}" for name, score, _ in named)
    else:
        shown = f"least scores from {min(stored.scores):.3g} to {max(stored.scores):.3g} by class"
    sentence = f"{shown}, stored with the model: the best F1 on its validation images"
    guessed = [named[class_id] for class_id in stored.guessed]
    if guessed:
        some = ", ".join(f"{count} of {name}" for name, _, count in guessed[:NAMED])
        more = f" and few of {count_of(len(guessed) - NAMED, 'class')} more" if len(guessed) > NAMED else ""
        sentence += f" (a guess where few objects decide it: {some}{more})"
    return sentence
