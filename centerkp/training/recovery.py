"""What a run does when its loss is no longer a number: once, it goes back to its last save and learns half as fast."""

import math
from collections.abc import Sequence
from dataclasses import replace

import keras

from centerkp.model.center_net import CenterNet, load_model
from centerkp.training.parts import compile_part, find_part, plan_parts
from centerkp.training.post_mortem import Autopsy, examine, explain, write_post_mortem
from centerkp.training.run import Run
from centerkp.training.step_watch import BrokenStep
from centerkp.wording import count_of

SLOWER = 0.5  # the learning rate after that, as a share of the one before


def recover(run: Run, broken: BrokenStep) -> None:
    """Sets the model of a run back to its last.keras, to go on from with a lower learning rate; the time goes on.

    Raises:
        ValueError: that has been done before; says what to do.
    """
    model, folder, console = run.model, run.folder, run.console
    saved = load_model(folder.last)
    lost = [name for name, value in broken.terms.items() if name != "loss" and not math.isfinite(value)]
    what = "the loss is no longer a number" if broken.terms else "the weights are no longer numbers"
    names = f" ({', '.join(lost)})" if lost else ""
    console.print(f"epoch {broken.epoch}, step {broken.step}: {what}{names}")
    _take_state(model, saved)
    found = examine(run, broken)
    write_post_mortem(run, broken, found)
    console.print(explain(found))
    console.print(f"{folder.post_mortem} and pictures/post_mortem.jpg beside it say more", soft_wrap=True)
    if saved.rate_factor < 1:
        raise ValueError(_advise(run, broken, found))
    model.rate_factor = SLOWER
    compile_part(run, plan_parts(run.settings, model.schedule_start)[find_part(run)])
    _take_state(model, saved)
    _copy_values(model.optimizer.variables, saved.optimizer.variables)
    if run.limit:
        run.limit.progress, run.limit.rate = saved.timed["progress"], 0.0
    run.save_last()
    steps = f" and {count_of(saved.unfinished['steps'], 'step')}" if saved.unfinished else ""
    console.print(
        f"back to what was saved after {count_of(saved.trained_epochs, 'epoch')}{steps}, this once, with half the learning rate"
    )


def _take_state(model: CenterNet, saved: CenterNet) -> None:
    """Gives a model the weights of a run's last save, and what that knows of the run."""
    model.trained_epochs, model.unfinished, model.thresholds = saved.trained_epochs, saved.unfinished, saved.thresholds
    model.freeze(saved.frozen, saved.frozen_bn)
    _copy_values(model.weights, saved.weights)


def _copy_values(ours: Sequence[keras.Variable], theirs: Sequence[keras.Variable]) -> None:
    """Gives variables the values of those of the last save."""
    for variable, value in zip(ours, theirs, strict=True):
        variable.assign(keras.ops.copy(value))  # JAX gives a model's arrays away when it trains


def _advise(run: Run, broken: BrokenStep, found: list[Autopsy]) -> str:
    """The error of a run whose loss is no number for a second time: why, and what to do."""
    folder, accused = run.folder, [one for one in found if one.is_broken]
    if len(accused) == 1:
        remedy = f"mend the labels of these images or the --augmentation, then go on with --resume {folder.path}"
    else:
        usual = replace(run.settings, learning_rate=None).resolve().learning_rate
        rate = min(run.model.rate_factor * run.settings.learning_rate / 4, usual)
        start = f" --weights {folder.best}" if folder.best.exists() else ""
        exact = ", or in --precision float32" if run.settings.precision != "float32" else ""
        remedy = f"start a new run with{start} --learning-rate {rate:g} or a lower --clip-norm{exact}"
    return (
        f"Epoch {broken.epoch}, step {broken.step}: the loss is no longer a number for the second time; {explain(found)}; "
        f"{remedy} ({folder.post_mortem} has all that is known)."
    )
