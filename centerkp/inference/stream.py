"""Images and videos in; annotated pictures, videos and `predictions.json` out."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from centerkp.console import make_console
from centerkp.drawing.legend import draw_legend
from centerkp.images.oddities import Oddity, describe_oddities
from centerkp.images.saving import write_image
from centerkp.inference.detect import ImageResult, detect
from centerkp.inference.detector import Detector, find_room
from centerkp.inference.model_loading import require_room
from centerkp.inference.outputs import OutputChoice, OutputNames, Outputs, Result, report_and_go_on
from centerkp.inference.scores import choose_least_scores
from centerkp.inference.screen import Screen
from centerkp.inference.sources import Clip, Item, Picture, read_items
from centerkp.results import Detection
from centerkp.schema import Schema
from centerkp.tracking.tracker import FOLLOWED, Tracker
from centerkp.wording import count_of, suggest
from centerkp.writing import unwritable


@dataclass(frozen=True)
class Selection:
    """Which of the detector's objects count.

    Args:
        min_score: least score of an object; None for what the detector knows of itself, see `choose_least_scores`.
        classes: names of the classes; empty for all.
        max_objects: only so many of an image, the best ones.
        track: numbers the objects of videos, the same object with the same number in all frames.
        smooth: boxes and keypoints of tracked objects do not tremble from frame to frame; ValueError without `track`.
    """

    min_score: float | None = None
    classes: Sequence[str] = ()
    max_objects: int | None = None
    track: bool = False
    smooth: bool = False

    def __post_init__(self) -> None:
        if self.smooth and not self.track:
            raise ValueError("--smooth: found no --track, expected both: what is smoothed are tracked objects; add --track.")
        if self.max_objects is not None and self.max_objects < 1:
            raise ValueError(f"max_objects: found {self.max_objects}, expected 1 or more.")

    def find_class_ids(self, schema: Schema) -> set[int]:
        """The network's ids of the classes chosen for `infer`; ValueError for a name that is not in the schema."""
        for name in self.classes:
            if name not in schema.class_names:
                hint = suggest(name, schema.class_names)
                raise ValueError(f"classes: found '{name}', expected some of {list(schema.class_names)}{hint}.")
        return {schema.class_names.index(name) for name in self.classes or schema.class_names}


def predict_sources(
    detector: Detector,
    sources: Sequence[Picture | Clip],
    out: str | Path,
    *,
    selection: Selection | None = None,
    choice: OutputChoice | None = None,
    batch_size: int = 8,
    stride: int = 1,
    overwrite: bool = False,
    console: Console | None = None,
) -> Path:
    """Runs a detector over a stream of images and videos, and writes what it finds.

    Pictures keep their file names inside `out/images`, and sub-folders where the images have the same name; videos lie in
    `out/videos`. `predictions.json` holds the objects in source pixels; pycocotools scores its annotations, and labelling tools
    open it as pre-labels. Reading, the network, drawing and writing overlap, and nothing is collected, so a long video takes no
    more memory than a short one. An interrupt (Ctrl-C) leaves whole files with everything that was finished.

    Args:
        stride: of videos only every so manieth frame.
        overwrite: replaces files in `out` that no earlier run wrote; those that are read never are.

    Returns:
        The path of `predictions.json`.

    Raises:
        FileExistsError: such a file stands in the way.
        ValueError: not one image could be read, an unknown class, or a choice that fits no source.
        OSError: the outputs cannot be written.
        KeyboardInterrupt: after the files are complete.
    """
    console, selection, choice = console or make_console(), selection or Selection(), choice or OutputChoice()
    _check_choices(sources, choice, selection)
    require_room(detector, selection.max_objects)
    for name, number in (("batch_size", batch_size), ("stride", stride)):
        if number < 1:
            raise ValueError(f"{name}: found {number}, expected 1 or more.")
    batch_size = 1 if any(isinstance(s, Clip) and s.live for s in sources) else batch_size
    names = OutputNames(out, sources, choice, overwrite)
    run = _Stream(detector, sources, selection, batch_size, stride, console)
    screen = _open_screen(console) if choice.show else None
    outputs = Outputs(names, detector.schema, choice, screen, run.report, selection.smooth)
    console.print(run.least.sentence + run.followed)
    interrupted = False
    try:
        with outputs, run.progress, closing(run.results()) as results:
            for result in results:
                outputs.add(result)
        _write_legend(outputs)
    except KeyboardInterrupt:
        interrupted = True
        raise
    except OSError as error:
        raise unwritable(out, error) from None
    finally:
        if screen:
            screen.close()
        if interrupted:
            console.print("interrupted; what was finished is complete:", style="yellow")
        run.print_summary(outputs)
    if not outputs.image_count:
        raise ValueError(
            f"{sources[0].address}: found {count_of(run.failed, 'fault')} and not one readable image, expected at least one; "
            "see the lines above."
        )
    return outputs.paths["objects"]


def _write_legend(outputs: Outputs) -> None:
    """Writes the names of keypoints by colour, for objects on whose pictures nobody would find them otherwise."""
    legend = draw_legend(outputs.schema, range(len(outputs.schema.classes))) if "pictures" in outputs.paths else None
    if legend is not None:
        with report_and_go_on(outputs.report):
            write_image(path := outputs.names.legend(), legend, "infer")
            outputs.paths["legend"] = path


class _Stream:
    """Reading, detecting, selecting and tracking, with the progress and the faults on the console."""

    def __init__(
        self,
        detector: Detector,
        sources: Sequence[Picture | Clip],
        selection: Selection,
        batch_size: int,
        stride: int,
        console: Console,
    ) -> None:
        self.detector, self.sources, self.selection, self.batch_size = detector, sources, selection, batch_size
        self.stride, self.console, self.failed, self.stop = stride, console, 0, Event()
        self._odd: list[tuple[str, Sequence[Oddity]]] = []
        self._room = find_room(detector)
        self._full = 0  # images with as many objects as that
        self.class_ids = selection.find_class_ids(detector.schema)
        self.least = choose_least_scores(detector, selection.min_score)
        followed = f"; objects of videos are followed down to {FOLLOWED:.0%} of it" if selection.track else ""
        self.followed = followed if any(self.least.values) else ""
        columns = [TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()]
        self.progress = Progress(*columns, console=console, transient=True)
        self._total = sum(isinstance(source, Picture) for source in sources)
        self._task = self.progress.add_task("images", total=self._total or None)
        self._started = self._ended = perf_counter()

    def results(self) -> Generator[Result]:
        """The images and frames of the stream that could be read, in order, with the objects that were selected."""
        items: deque[Item] = deque()
        trackers: dict[Clip, Tracker] = {}
        self._started = perf_counter()
        found = detect(self.detector, self._read_contents(items), batch_size=self.batch_size, min_score=self._find_floors())
        try:
            for result in found:
                item = items.popleft()
                self.progress.advance(self._task)
                self._ended = perf_counter()
                if result.error:
                    self.report(result.error)
                    continue
                if result.oddities:
                    self._odd.append((result.name, result.oddities))
                self._full += len(result.detections) == self._room
                yield Result(item, result.image, *self._select_objects(item, result, trackers))
        finally:
            self.stop.set()
            found.close()

    def _read_contents(self, items: deque) -> Iterator:
        """What the detector takes from the sources, while the rest of each item waits in the same order."""
        for item in read_items(self.sources, self.report, self._count_frames, self.stop, self.stride):
            items.append(item)
            yield item.content

    def _find_floors(self) -> tuple[float, ...]:
        """The least scores of what the detector is to give, by class: what continues an object of a video may score lower."""
        return tuple(FOLLOWED * score for score in self.least.values) if self.selection.track else self.least.values

    def _select_objects(self, item: Item, result: ImageResult, trackers: dict) -> tuple[list[Detection], list[int]]:
        """The objects of a result that were selected, of the chosen classes and `max_objects` at most; and their numbers."""
        chosen, tracks = [d for d in result.detections if d.class_id in self.class_ids], []
        if self.selection.track and item.clip is not None:
            if item.clip not in trackers:
                trackers[item.clip] = Tracker(self.detector.schema, self.least.values, smooth=self.selection.smooth)
            chosen, tracks = trackers[item.clip].update(chosen, item.seconds)
        else:
            chosen = self.least.keep(chosen)
        return chosen[: self.selection.max_objects], tracks[: self.selection.max_objects]

    def report(self, fault: str) -> None:
        """Says on the console which image, frame or output was left out, and counts it."""
        self.failed += 1
        fault = fault.replace("\n", "\\n")  # in the name of a file, which makes no lines of its own
        self.console.print(f"left out: {fault}", style="yellow", soft_wrap=True)

    def _count_frames(self, frames: int | None) -> None:
        """Adds the frames of an opened video to the progress bar's total; None makes it unknown."""
        self._total = None if frames is None or self._total is None else self._total + frames
        self.progress.update(self._task, total=self._total)

    def print_summary(self, outputs: Outputs) -> None:
        """Prints how many objects and images a stream had, and where its outputs lie."""
        if not outputs.image_count:
            return
        seconds = max(self._ended - self._started, 1e-9)
        faults = f"; {count_of(self.failed, 'fault')}, see above" if self.failed else ""
        self.console.print(
            f"{count_of(outputs.object_count, 'object')} in {count_of(outputs.image_count, 'image')}{faults}\n"
            f"{outputs.image_count / seconds:.1f} images/s",
        )
        for sentence in describe_oddities(self._odd):
            self.console.print(sentence, style="yellow", soft_wrap=True)
        if self._full:
            full = f"{count_of(self._full, 'image')} with as many objects as this model gives, {self._room}"
            self.console.print(f"{full}: there may be more, see --max-objects", style="yellow", soft_wrap=True)
        for kind, path in sorted(outputs.paths.items()):
            self.console.print(f"{kind:>8}: {path}", soft_wrap=True)
        if any(self.least.values):
            self.console.print(
                "predictions.json has no objects below the least score: its average precision is lower than the model's; "
                "--score 0 keeps all"
            )


class _Rate(ProgressColumn):
    """A column of the progress bar: images per second."""

    def render(self, task: Task) -> Text:
        """The rate beside the progress bar of the stream, "12.3 images/s", as rich asks for it."""
        return Text(f"{task.completed / (task.finished_time or task.elapsed or 1):.1f} images/s")


def _check_choices(sources: Sequence[Picture | Clip], choice: OutputChoice, selection: Selection) -> None:
    """Refuses choices for a stream that do not go with its sources or its terminal."""
    if any(isinstance(source, Clip) or isinstance(source.address, str) for source in sources):
        return  # an address may turn out to be a video
    for flag, given in (("--save-video", choice.video), ("--track", selection.track)):
        if given:
            raise ValueError(f"{flag}: found images only, expected a video, camera or stream among the sources; leave it out.")


def _open_screen(console: Console) -> Screen:
    """Opens the page that shows a stream for `infer --show`, and says on the console where it is."""
    screen = Screen()
    console.print(f"showing at {screen.address}")
    if not screen.opened:
        console.print(
            f"No browser could be started here. Open the address in one, from another computer after\n"
            f"  ssh -L {screen.port}:127.0.0.1:{screen.port} THIS_COMPUTER",
            style="yellow",
        )  # fmt: skip
    return screen
