"""The parts of a run, which have an optimizer and a schedule each: while something is frozen, and afterwards."""

from dataclasses import dataclass

from centerkp.model.center_net import CenterNet
from centerkp.settings.training import TrainSettings
from centerkp.training.optimizer import make_optimizer
from centerkp.training.run import Run

ENDLESS = 10**9  # epochs of a run that its time alone ends


@dataclass(frozen=True)
class Part:
    """Epochs from `first` to before `end`, during which `frozen` does not train."""

    first: int
    end: int
    frozen: str


def plan_parts(settings: TrainSettings, first: int) -> list[Part]:
    """The epochs to fit from `first` on in one part, or in two when something is unfrozen on the way."""
    end = settings.epochs or ENDLESS
    if not settings.unfreeze_at:
        return [Part(first, end, settings.freeze)]
    if first >= settings.unfreeze_at:
        return [Part(first, end, "none")]
    return [Part(first, settings.unfreeze_at, settings.freeze), Part(settings.unfreeze_at, end, "none")]


def find_part(run: Run) -> int:
    """Which of its parts a run is in, by what its model has frozen."""
    return [part.frozen for part in plan_parts(run.settings, run.model.schedule_start)].index(run.model.frozen)


def compile_part(run: Run, part: Part) -> None:
    """Freezes what a part of the fitting says and gives the model a fresh optimizer.

    Fresh also in the second part: the moments and the moving average of what was frozen start from nothing, and Adam corrects
    for that in its first steps only.
    """
    model = run.model
    model.freeze(part.frozen, run.settings.freeze_bn)
    model.compile(make_optimizer(run.settings, run.steps * (part.end - part.first), model.rate_factor))
    model.optimizer.build(model.trainable_variables)
    if run.limit:
        run.limit.progress = 0.0


def start_from_average(model: CenterNet) -> None:
    """Gives a model the moving average of its weights, from which the next part of the fitting starts."""
    model.optimizer.finalize_variable_values(model.trainable_variables)
