"""Training from end to end: data, model, fit, and what is left in the run folder."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import keras
from rich.console import Console

from centerkp.console import make_console, native_silence
from centerkp.distribution.team import Team
from centerkp.distribution.validation import detect_together
from centerkp.evaluation.evaluate import Evaluation, evaluate, ground_truth_as_detections
from centerkp.evaluation.tables import print_evaluation
from centerkp.images.saving import write_image
from centerkp.images.tiling import Tiling
from centerkp.inference.model_loading import make_room
from centerkp.inference.scores import choose_least_scores
from centerkp.labels.counts import require_labels
from centerkp.labels.records import Record
from centerkp.model.center_net import CenterNet, load_model
from centerkp.model.cost import describe_cost, measure_reach
from centerkp.report.run_report import RunReport
from centerkp.report.settings_text import list_changed
from centerkp.report.training_data import print_dataset, tell_rare_classes, warn_of_reach
from centerkp.results import coco_dataset
from centerkp.samples.memory import share_addresses
from centerkp.samples.windows import cut_records
from centerkp.schema import Schema
from centerkp.settings.augmentation import read_augmentation
from centerkp.settings.canvas import choose_canvas
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_box_margins, read_canvas, read_keypoint_map, read_numbers
from centerkp.training.batch_search import choose_batch_size
from centerkp.training.callbacks import draw_validation
from centerkp.training.choice import choose, choose_box_margins, choose_epochs, choose_room
from centerkp.training.dry_run import build_probe, dry_run
from centerkp.training.fitting import fit
from centerkp.training.loggers import require_loggers
from centerkp.training.prolonging import prolong
from centerkp.training.resumed import check_begun, find_scores, load_last
from centerkp.training.run import Run
from centerkp.training.run_folder import RunFolder
from centerkp.training.run_images import KeptImages, read_records
from centerkp.weights.start import build_from_weights, build_model
from centerkp.wording import format_duration
from centerkp.writing import short_name, write_json

PICTURES = 12  # validation images drawn


@dataclass(frozen=True)
class TrainResult:
    """Where the run is, and how good its best model: the evaluation of best.keras on the validation images."""

    folder: RunFolder
    evaluation: Evaluation


def train(
    settings: TrainSettings,
    *,
    resume: str | Path | None = None,
    prolongs: bool = False,
    started: float | None = None,
    console: Console | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainResult:
    """Trains a detector and leaves everything in its run folder.

    Args:
        resume: the folder of an interrupted run, continued with its own settings and its own images from its last save: a
            whole epoch, or a step in one.
        prolongs: a resumed run that has ended goes on to `settings.epochs` or for another `settings.time`.
        started: from when on `settings.time` counts, by `time.monotonic`; by default from now on.
        callbacks: Keras callbacks of your own. At the end of an epoch they are given its whole row of the log, after an
            evaluation with `score`, `box_ap` and the like; one that sets `model.stop_training` ends the run as its last epoch
            would. A resumed run, and one with `settings.unfreeze_at`, begins training more than once.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: something in the data or the settings would waste the run; says what.
    """
    if settings.folds and not settings.fold:
        raise ValueError("train: found folds without fold, expected one of them; centerkp.trials.folds has cross_validate.")
    started = monotonic() if started is None else started
    team = Team(settings, console or make_console())
    with team, _policy_kept():
        return _train_in(team, settings, resume, prolongs, started, callbacks)


@contextmanager
def _policy_kept() -> Iterator[None]:
    """Inside, a run may set the number format of its layers."""
    before = keras.config.dtype_policy()
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _train_in(
    team: Team,
    settings: TrainSettings,
    resume: str | Path | None,
    prolongs: bool,
    started: float,
    callbacks: Sequence[keras.callbacks.Callback],
) -> TrainResult:
    """Trains a new run, or resumes one, in a team of processes and devices."""
    console, by_default = team.console, settings.weights == "auto"
    # Before anything is measured, which may take a while.
    folder = RunFolder(team.from_first(lambda: _find_folder(settings, resume)), team.is_first)
    share_addresses()
    report = RunReport.read(folder.report, started) if resume else RunReport.start(list_changed(settings), started)
    settings, choices = team.from_first(lambda: choose(settings, team.devices), "choose what the run takes")
    team.check(settings)
    choices = [team.choice] * bool(team.choice) + choices
    for line in choices:
        console.print(line)
    report.choices += choices
    keras.config.set_dtype_policy(settings.precision)
    if resume:
        with folder.hold():
            return _resume_run(team, settings, folder, prolongs, by_default, started, callbacks, report)
    settings, schema, train_records, val_records = _prepare_records(team, settings, None, report)
    model = _build_new_model(team, schema, train_records, settings, by_default, report)
    folder = RunFolder(team.from_first(lambda: RunFolder.create(settings).path), team.is_first)
    with folder.hold():
        if folder.writes:
            folder.refuse_taken()  # by a run that began in the meantime
        folder.write_start(settings, schema, train_records, val_records)
        run = Run(
            model, train_records, val_records, settings, folder, started, console, callbacks=callbacks, report=report, team=team
        )
        return _fit_and_finish(run)


def _find_folder(settings: TrainSettings, resume: str | Path | None) -> str | Path:
    """Where a run goes or lies; refuses what would not do before it has begun."""
    require_loggers(settings)
    read_augmentation(settings)
    if resume:
        return resume
    folder = RunFolder.name(settings)
    folder.refuse_taken(settings.reads)
    return folder.path


def _build_new_model(
    team: Team, schema: Schema, train_records: Sequence[Record], settings: TrainSettings, by_default: bool, report: RunReport
) -> CenterNet:
    """Builds the model of a new run, with the weights that training starts from."""
    console = team.console
    console.print(f"weights: {settings.weights}{' (by default)' if by_default else ''}")
    random.setstate(team.from_first(random.getstate))  # from which Keras draws the seeds of random weights
    with team.first_ahead("fetch the weights"):
        model = start_model(schema, settings, console)
    team.require_same_weights(model)
    model.levels, model.tiling = train_records[0].levels, Tiling.of(settings.tile)
    if model.tiling:
        console.print(f"pictures are seen in {model.tiling}: an epoch shows one of each, evaluations look at all")
    seen = cut_records(train_records, model.tiling, model.image_size)
    report.notes += warn_of_reach(console, seen, model.image_size, measure_reach(model))
    return model


def _resume_run(
    team: Team,
    settings: TrainSettings,
    folder: RunFolder,
    prolongs: bool,
    by_default: bool,
    started: float,
    callbacks: Sequence[keras.callbacks.Callback],
    report: RunReport,
) -> TrainResult:
    """Goes on with a run from its last.keras; one that ended before anything was saved starts from its beginning."""
    console = team.console
    has_begun = check_begun(folder, console)
    kept = folder.read_images() if has_begun else None
    settings, schema, train_records, val_records = _prepare_records(team, settings, kept, report)
    if has_begun:
        model = load_last(folder, schema, settings)
        team.require_same_weights(model)
        make_room(model, settings.max_objects)  # which an earlier version did not choose
    else:
        model = _build_new_model(team, schema, train_records, settings, by_default, report)
    run = Run(
        model, train_records, val_records, settings, folder, started, console, callbacks=callbacks, report=report, team=team
    )
    epochs = model.trained_epochs
    run.scores.update(team.from_first(lambda: find_scores(folder, val_records, settings, epochs, console)))
    former = team.from_first(folder.read_settings)
    if prolongs and has_begun:
        prolong(run, former)
    folder.write_start(settings, schema, train_records, val_records)
    return _fit_and_finish(run)


def _fit_and_finish(run: Run) -> TrainResult:
    """Trains a run's model from wherever it stands to the end; says how to go on when it is interrupted."""
    folder, console = run.folder, run.console
    try:
        run.write_page("training")
        fit(run)
        result = finish(run)
        if run.limit:
            left = run.limit.deadline - monotonic()
            console.print(f"{'time left' if left > 0 else 'over time'}: {format_duration(abs(left))}")
        return result
    except KeyboardInterrupt:
        console.print(f"interrupted; goes on with --resume {folder.path}", soft_wrap=True)
        run.write_page("interrupted")
        raise
    except Exception as error:
        run.write_page("stopped", str(error)[:1000])  # a library's can be pages long
        raise


def _prepare_records(
    team: Team, settings: TrainSettings, kept: KeptImages | None, report: RunReport
) -> tuple[TrainSettings, Schema, list[Record], list[Record]]:
    """A run's settings with its epochs chosen, schema, training and validation records: as process 0 reads and checks them."""
    with native_silence():  # on JAX, too, Keras imports TensorFlow here, to seed it
        keras.utils.set_random_seed(settings.seed)
    return team.from_first(lambda: _read_and_check(settings, kept, team.console, report), "read and check the labels")


def _read_and_check(
    settings: TrainSettings, kept: KeptImages | None, console: Console, report: RunReport
) -> tuple[TrainSettings, Schema, list[Record], list[Record]]:
    """A run's settings with its epochs chosen, schema, training and validation records: shown and checked before any step."""
    schema, train_records, val_records, notes = read_records(settings, kept)
    levels = train_records[0].levels
    settings = replace(settings, stretch=str(levels) if levels else None)
    print_dataset(console, train_records, val_records, schema, notes)
    require_labels(train_records, schema)
    notes += tell_rare_classes(console, train_records, schema, settings.weight_classes)
    records = [*train_records, *val_records]
    settings, canvas = choose_canvas(settings, records)
    tiling, size = Tiling.of(settings.tile), read_canvas(settings.image_size)
    settings, room = choose_room(settings, cut_records(records, tiling, size), schema.num_keypoints)
    settings, boxes = choose_box_margins(settings, train_records, schema)
    settings, choices = choose_batch_size(settings, schema, records, len(train_records), console)
    seen = cut_records(train_records, tiling, size)
    settings, more = choose_epochs(settings, len(train_records), len(seen))
    choices = canvas + room + boxes + choices + more
    for line in choices:
        console.print(line)
    report.choices += choices
    # Raises now, and not at the first evaluation, when the validation images cannot decide what to choose the best model by.
    evaluate(val_records, ground_truth_as_detections(val_records, schema), schema).score(settings.monitor)
    checked = [f"dry run: {line}" for line in dry_run(build_probe(schema, settings), seen, bool(tiling))]
    for line in checked:
        console.print(line)
    report.note_data(train_records, val_records, schema, [*notes, *checked])
    return settings, schema, train_records, val_records


def start_model(schema: Schema, settings: TrainSettings, console: Console) -> CenterNet:
    """The model that `train` starts with: fresh weights, or those of `settings.weights` moved by name."""
    options: dict[str, Any] = {
        "backbone": settings.backbone,
        "image_size": read_canvas(settings.image_size),
        "stacks": settings.stacks,
        "bn_momentum": settings.bn_momentum,
        "loss_weights": read_numbers(settings.loss_weights, "loss_weights"),
        "decode": settings.decode | {"box_margins": read_box_margins(settings.box_margins)},
    }
    if settings.weights == "none":
        model = build_model(schema, **options)
    else:
        partners = read_keypoint_map(settings.map_keypoint)
        model, report = build_from_weights(schema, settings.weights, map_keypoint=partners, console=console, **options)
        for line in report.lines():
            console.print(f"weights: {line}")
    count = model.backbone.stacks
    console.print(f"{settings.backbone}, {count} stack{'s' if count > 1 else ''}: {describe_cost(model)}")
    return model


def finish(run: Run) -> TrainResult:
    """The end of `train`: evaluates best.keras and writes its numbers, predictions, pictures and page."""
    folder, val_records, console = run.folder, run.val_records, run.console
    run.team.wait_for_all()  # until best.keras is written
    model = load_model(folder.best)
    with run.report.measure("evaluation"):
        detections = detect_together(run.team, model, val_records, run.settings.batch_size)
        evaluation = evaluate(val_records, detections, model.schema)
    if not folder.writes:
        return TrainResult(folder, evaluation)
    write_json(folder.metrics, evaluation.to_dict(), indent=2)
    images = [{"id": r.image_id, "file_name": r.file_name, "width": r.width, "height": r.height} for r in val_records]
    write_json(folder.predictions, coco_dataset(images, detections, model.schema))
    for record, found in list(zip(val_records, detections, strict=True))[:PICTURES]:
        picture = draw_validation(record, found, model)
        name = short_name(f"{record.path.stem}_{record.image_id}.jpg")
        write_image(folder.pictures / "validation" / name, picture, "train")
    epoch = model.trained_epochs
    run.report_evaluation("finished", f"best.keras, epoch {epoch}", epoch, evaluation, detections)
    print_evaluation(evaluation, console)
    console.print(f"infer.py takes by default the {choose_least_scores(model).sentence}")
    files = {"model": folder.best, "numbers": folder.metrics, "pictures": folder.pictures, "report": folder.page}
    for name, path in files.items():
        console.print(f"{name:>9}: {path}")
    return TrainResult(folder, evaluation)
