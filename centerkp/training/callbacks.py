"""What happens around the steps of `fit`: evaluation, and files that survive a killed process."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from centerkp.distribution.validation import detect_together, measure_losses
from centerkp.drawing.pictures import draw_comparison
from centerkp.evaluation.evaluate import Evaluation, evaluate
from centerkp.images.reading import read_image
from centerkp.inference.scores import choose_least_scores
from centerkp.labels.records import Record
from centerkp.model.center_net import CenterNet, save_model
from centerkp.results import Detection
from centerkp.settings.values import read_time
from centerkp.training.interruption import Interruption
from centerkp.training.optimizer import averaged_weights, without_optimizer
from centerkp.training.progress import format_row
from centerkp.training.run import Run
from centerkp.training.run_images import digest_records
from centerkp.training.step_watch import BrokenStep, has_finite_weights
from centerkp.training.time_limit import is_turn
from centerkp.wording import count_of

# Seconds between saves within an epoch; and how many times as long as a save takes at least: a hundredth of the time.
SAVE_PAUSE, SAVE_COST = 600, 99


def draw_validation(record: Record, detections: Sequence[Detection], model: CenterNet) -> np.ndarray:
    """A validation image during training: as annotated, beside it with detections worth showing, (h, w, 3) uint8 RGB."""
    shown = choose_least_scores(model).keep(detections)
    return draw_comparison(read_image(record.path, record.levels), record, shown, model.schema)


class EpochEnd(keras.callbacks.Callback):
    """At the end of every epoch: evaluates when it is time, saves the best and the last model, writes the log, prints a line.

    The log is written before `last.keras`, which knows how many epochs it has seen: a process killed between the two loses
    nothing, the epoch is done again. So it is with short epochs, of which not every one is worth the time that saving takes.
    An epoch is also saved on its way every `save_every`, where a signal interrupts it, and when it is still to be evaluated,
    which may take long.

    Args:
        rows: of the log of the epochs before.
    """

    def __init__(self, run: Run, validation_batches: Any, rows: list[dict[str, float]], interruption: Interruption) -> None:
        super().__init__()
        self.run, self.validation_batches, self.rows = run, validation_batches, rows
        self.validation, self.interruption = digest_records(run.val_records), interruption
        self.evaluation: Evaluation | None = None
        self.evaluated = time.monotonic()
        self.saved, self.saving = time.monotonic(), 0.0  # when last.keras was written last, and how long that took

    def on_epoch_begin(self, epoch: int, logs: Mapping | None = None) -> None:
        """Notes the time; in an unfinished epoch takes up its steps and the sums of its metrics again."""
        self.started, self.first_step, self.was_due = time.monotonic(), 0, False
        if self.model.unfinished:
            self.first_step, self.was_due = self.model.unfinished["steps"], self.model.unfinished.get("is_due", False)
            for variable, value in zip(self.model.metrics_variables, self.model.unfinished["metrics"], strict=True):
                variable.assign(value)
        self.done = self.first_step

    def on_train_batch_begin(self, batch: int, logs: Mapping | None = None) -> None:
        """When a signal has come, saves the unfinished epoch and raises KeyboardInterrupt."""
        if self.run.team.count == 1:  # others are to agree, which they do after every step
            self._end_interrupted(self.interruption.signal is not None, self.first_step + batch)

    def on_train_batch_end(self, batch: int, logs: Mapping | None = None) -> None:
        """Counts the step, looks for a signal after it as before the next one, and saves when it is time."""
        self.done = self.first_step + batch + 1
        self.on_train_batch_begin(batch + 1)
        is_late = time.monotonic() - self.saved > self._choose_pause()
        votes = self.run.team.gather((self.interruption.signal is not None, is_late))
        self._end_interrupted(any(has_signal for has_signal, _ in votes), self.done)
        if self.done < self.run.steps and votes[0][1]:
            self._save_unfinished(self.done)

    def _end_interrupted(self, has_signal: bool, done: int) -> None:
        """When a signal has come to some process of the run, saves the unfinished epoch and raises KeyboardInterrupt."""
        if has_signal:
            self._save_unfinished(done)
            self.run.team.leave()
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Evaluates when it is time, saves the best and the last model, writes log.csv, prints the epoch's line."""
        self._require_numbers()
        row = {"epoch": epoch + 1, "learning_rate": float(self.model.optimizer.learning_rate), **(logs or {})}
        row["seconds"] = round(time.monotonic() - self.started, 1)
        is_due = self.run.team.from_first(lambda: self._is_due(epoch))
        if is_due:
            self._save_unfinished(self.done, is_due=True)
        self.model.trained_epochs, self.model.unfinished = epoch + 1, None
        if is_due:
            with self.interruption.at_once(), self.run.team.apart(self.model), averaged_weights(self.model):
                self._judge(epoch, row)
        self.rows.append(row)
        with self.run.report.measure("saving"):
            self.run.folder.write_log(self.rows)
        if is_due or time.monotonic() - self.saved > min(SAVE_COST * self.saving, self._choose_pause()):
            self._save_last()
        self.run.console.print(format_row(row))
        self._end_early()
        if logs is not None:
            logs.update(row)  # callbacks after this one are given all numbers

    def evaluate_late(self, epoch: int) -> dict[str, float]:
        """Evaluates after an epoch that became the last one when its line was printed already; its row of the log."""
        row = self.rows[-1]
        with self.interruption.at_once(), self.run.team.apart(self.model), averaged_weights(self.model):
            self._judge(epoch, row)
        self.run.folder.write_log(self.rows)
        self._save_last()
        self.run.console.print(format_row(row))
        return row

    def _is_due(self, epoch: int) -> bool:
        """Whether the model is evaluated after an epoch; always after the last one, and where that was interrupted."""
        run = self.run
        if self.model.stop_training or epoch + 1 == run.settings.epochs or (self.was_due and self.done == self.first_step):
            return True
        return run.limit.is_due(epoch) if run.limit else is_turn(run.settings.eval_every, epoch, self.evaluated)

    def _judge(self, epoch: int, row: dict[str, float]) -> None:
        """Evaluates the model into the epoch's row of the log, and saves it if it is the best until now."""
        run, scores = self.run, self.run.scores
        with run.report.measure("evaluation"):
            row |= self._evaluate_model()
        if not scores or row["score"] > max(scores.values()):
            with run.report.measure("saving"):
                scores[epoch + 1] = row["score"]
                self._write_best()
            row["best"] = 1
        if self.evaluation:
            run.folder.write_log([*(other for other in self.rows if other is not row), row])  # from which the page is made
            name = f"the model after epoch {epoch + 1}"
            run.report_evaluation("training", name, epoch + 1, self.evaluation, run.detections)
        self.evaluated = time.monotonic()
        if run.limit:
            run.limit.note_evaluation()

    def _write_best(self) -> None:
        """Saves the model as the best until now."""
        run = self.run
        if run.folder.writes:
            with without_optimizer(self.model):
                save_model(self.model, run.folder.best)
        run.folder.write_best(run.scores, self.validation)

    def _end_early(self) -> None:
        """Says after an epoch why it was the last one where more were to come: the time is up, or the patience is out."""
        run = self.run
        if run.limit and run.limit.is_over:
            run.console.print(f"the time is up, {count_of(self.done, 'step')} of {run.steps} into the last epoch")
        elif run.is_stale(self.rows):
            best, times = max(run.scores), count_of(run.settings.patience, "evaluation")
            run.console.print(f"no higher score in {times}: the run ends, epoch {best} was its best ({run.scores[best]:.3f})")
            self.model.stop_training = True

    def _save_unfinished(self, steps: int, *, is_due: bool = False) -> None:
        """Saves the model after so many steps of an epoch, what its metrics have summed up, and if an evaluation is due."""
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # the state is with `fit` until somebody asks for it
        self._require_numbers()
        metrics = [float(keras.ops.convert_to_numpy(v)) for v in self.model.metrics_variables]
        self.model.unfinished = {"steps": steps, "metrics": metrics, "is_due": is_due}
        self._save_last()

    def _save_last(self) -> None:
        """Saves the model in training, and notes when and how long it took."""
        started = time.monotonic()
        with self.run.report.measure("saving"):
            self.run.save_last()
        self.saved = time.monotonic()
        self.saving = self.saved - started

    def _choose_pause(self) -> float:
        """Seconds between two saves within an epoch."""
        every = self.run.settings.save_every
        return read_time(every, "save_every") if every else max(SAVE_PAUSE, SAVE_COST * self.saving)

    def _require_numbers(self) -> None:
        """Raises BrokenStep rather than save or judge a model whose weights are no longer numbers."""
        if not has_finite_weights(self.model):
            raise BrokenStep(self.model.trained_epochs + 1, self.done, {}, [])

    def _evaluate_model(self) -> dict[str, float]:
        """Evaluates the model in training on the validation images, and tells it its thresholds; the numbers for the log."""
        records, settings = self.run.val_records, self.run.settings
        losses = measure_losses(self.run.team, self.model, self.validation_batches)
        self.run.detections[:] = detect_together(self.run.team, self.model, records, settings.batch_size)
        self.evaluation = evaluation = evaluate(records, self.run.detections, self.model.schema)
        self.model.thresholds = evaluation.find_thresholds()
        numbers = {"box_ap": evaluation.box["AP"], "keypoint_ap": evaluation.keypoints["AP"], "pck": evaluation.pck}
        numbers["score"] = evaluation.score(settings.monitor)
        return {f"val_{k}": v for k, v in losses.items()} | {k: v for k, v in numbers.items() if v is not None}


class LateEvaluation(keras.callbacks.Callback):
    """Evaluates the epoch after which somebody's own callback has ended the run, as the last one always is."""

    def __init__(self, epoch_end: EpochEnd) -> None:
        super().__init__()
        self.epoch_end = epoch_end

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Evaluates after the epoch's end where that has not been done and there is no further epoch."""
        if self.model.stop_training and "score" not in logs:
            logs.update(self.epoch_end.evaluate_late(epoch))


class OwnWeights(keras.callbacks.Callback):
    """Gives a model back its own weights after `fit`, which ends with their moving average."""

    def on_epoch_end(self, epoch: int, logs: Mapping | None = None) -> None:
        """Keeps the weights as the epoch left them, before `fit` puts their average in place."""
        self.values = [keras.ops.convert_to_numpy(v) for v in self.model.trainable_variables]

    def restore(self) -> None:
        """Gives the model its kept weights back after `fit`."""
        for variable, value in zip(self.model.trainable_variables, self.values, strict=True):
            variable.assign(value)
