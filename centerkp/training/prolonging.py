"""Going on with a run that has ended, for more epochs or more time: the learning rate goes up and down once more."""

from dataclasses import replace

from centerkp.settings.training import TrainSettings
from centerkp.training.optimizer import own_optimizer
from centerkp.training.parts import compile_part, plan_parts, start_from_average
from centerkp.training.run import Run
from centerkp.wording import count_of


def prolong(run: Run, former: TrainSettings) -> None:
    """Gives the model of a run that has ended a new schedule, for the length that its settings have now.

    It goes on from the average of its weights, as after an unfreezing, and is saved so before the settings are: a process
    killed between the two has neither lost nor spoilt anything. A run still on its way to the length asked for stays as it is.

    Args:
        former: its settings until now.

    Raises:
        ValueError: it has not ended, or has had so many epochs.
    """
    model, settings, done = run.model, run.settings, run.model.trained_epochs
    if not replace(run, settings=former).has_ended():
        if (settings.epochs, settings.time) == (former.epochs, former.time):
            return
        length = former.time or count_of(former.epochs or 0, "epoch")
        raise ValueError(
            f"{run.folder.path}: found a run that has not ended, expected one beside --epochs and --time; let it come to its "
            f"{length} with --resume alone, or start a new run with --weights {run.folder.best}."
        )
    if settings.epochs is not None and settings.epochs <= done:
        raise ValueError(f"epochs: found {settings.epochs}, expected more than the {done} that {run.folder.path} has had.")
    if int(own_optimizer(model).iterations):  # else the average holds nothing yet
        start_from_average(model)
    model.schedule_start, model.timed = done, None
    run.report.note_given("epochs", "time")
    compile_part(run, plan_parts(settings, done)[0])
    run.save_last()
    end = f"to {settings.epochs}" if settings.epochs else f"for {settings.time}"
    run.console.print(
        f"prolonged after {count_of(done, 'epoch')} {end}: the learning rate warms up again to "
        f"{model.rate_factor * settings.learning_rate:g} and falls once more"
    )
