"""The doctor: what is wrong with a dataset, what of it can be mended, and what the data are like."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from centerkp.doctor.boxes import check_boxes
from centerkp.doctor.findings import Finding, exit_code, find_same_kind, sort_findings
from centerkp.doctor.images import check_images
from centerkp.doctor.keypoints import check_keypoints, check_labelled
from centerkp.doctor.look import Images, look_at_images
from centerkp.doctor.mend import Mending
from centerkp.doctor.misread import COCO, Judgement, check_meaning, judge_meaning, write_as_coco
from centerkp.doctor.reader import Reading, judge_sides, read_with_findings
from centerkp.doctor.settled_labels import Frames, Labels, settle_labels
from centerkp.doctor.statistics import Canvas, Statistics, check_rare_classes, check_statistics, measure_labels
from centerkp.doctor.structure import check_categories, check_negatives, check_objects, check_structure
from centerkp.doctor.twins import check_neighbours, check_twins
from centerkp.doctor.write_back import mend_labels, name_images
from centerkp.formats.gathering import complete_keypoints
from centerkp.labels.content import NotCoco, Paths, Source, list_paths, name_paths, uncollected
from centerkp.labels.joining import open_label_files
from centerkp.labels.tables import NOUNS
from centerkp.schema import Schema
from centerkp.writing import WriteGuard, write_json


@dataclass(eq=False)
class Checkup:
    """What the doctor found out about one COCO file.

    `path` is what the files of its `source` are called. `findings` come most important first. Everything behind them is None
    or empty when the file is not COCO; `labels` and `statistics` too when its categories are unusable. `reading` is that of the
    mended content.
    """

    path: Path
    findings: list[Finding]
    reading: Reading | None = None
    images: Images = field(default_factory=lambda: Images([], [], {}))
    frames: Frames | None = None
    labels: Labels | None = None
    statistics: Statistics | None = None
    changes: list[Finding] = field(default_factory=list)
    judgement: Judgement = field(default_factory=Judgement)
    val: "Checkup | None" = None
    source: Source | None = None

    @property
    def exit_code(self) -> int:
        """What the checks tell a script: 0 nothing is wrong, 1 something is to be mended or looked at, 2 not trainable."""
        return exit_code(self.findings)

    @property
    def schema(self) -> Schema | None:
        """The classes of the file that the doctor checked, None where they are unusable."""
        return self.reading.schema if self.reading else None


def check_dataset(
    path: Paths,
    *,
    images_dir: Paths | None = None,
    val: Paths | None = None,
    val_images_dir: Paths | None = None,
    image_size: int | Canvas = 512,
    open_images: bool = True,
    stretch: str | None = None,
    is_split: bool = True,
    point_box: float | None = None,
    trained: Schema | None = None,
) -> Checkup:
    """Examines a COCO dataset for training: calls every check of the doctor, and never stops at the first fault.

    Args:
        path, images_dir: as in `labels.coco.read_coco`; of several files each must be one that it takes.
        val: a COCO JSON for validation, or several, examined too and compared with the other; `val_images_dir` as `images_dir`.
        image_size: of the network's input, its side or (width, height), for the sizes of objects.
        open_images: decode every image once; when False the image files are not even looked for.
        stretch: as in `labels.coco.read_coco`; a validation set is read as the training set is.
        is_split: without `val`, training keeps images of the file back to validate on.
        point_box: as in `labels.records.make_boxes`.

    Raises:
        FileNotFoundError: there is no such JSON or images folder.
    """
    with uncollected():
        folders = images_dir, val, val_images_dir or (images_dir if len(list_paths(images_dir)) < 2 else None)
        canvas = (image_size, image_size) if isinstance(image_size, int) else image_size
        return _check_train_and_val(path, *folders, canvas, open_images, stretch, is_split, point_box)


def _check_train_and_val(
    path: Paths,
    images_dir: Paths | None,
    val: Paths | None,
    val_images_dir: Paths | None,
    image_size: Canvas,
    open_images: bool,
    stretch: str | None,
    is_split: bool,
    point_box: float | None,
) -> Checkup:
    """All checks of a training file, of a validation file where there is one, and of the two together."""
    is_split = is_split and not val
    checkup = check_one(path, images_dir, image_size, open_images, stretch, is_split=is_split, point_box=point_box)
    if not val:
        if checkup.reading:
            checkup.findings += check_neighbours(checkup.images.looks, checkup.reading)
    else:
        stretch = str(checkup.images.levels) if checkup.images.levels else stretch
        checkup.val = check_one(
            val, val_images_dir, image_size, open_images, stretch, False, False, point_box, trained=checkup.schema
        )
        checkup.findings += [replace(f, part="val") for f in checkup.val.findings if f.level in _FOR_BOTH]
        checkup.findings += _compare_categories(checkup, checkup.val)
    checkup.findings = sort_findings(checkup.findings)
    return checkup


_FOR_BOTH = ("unusable", "mendable", "suspicious")  # advice about validation data would only repeat what training's says


def check_one(
    paths: Paths,
    images_dir: Paths | None,
    image_size: Canvas,
    open_images: bool,
    stretch: str | None = None,
    for_training: bool = True,
    is_split: bool | None = None,
    point_box: float | None = None,
    trained: Schema | None = None,
) -> Checkup:
    """All checks of the doctor on one file, in order: what it holds, its images, its labels, its statistics.

    Args:
        is_split: whether training is to find images to validate on in it, too; None when it may have no objects at all.
        trained: whose keypoints those of a file to validate on are, where its tool names only labelled ones.
    """
    path = name_paths(paths)
    try:
        source = open_label_files(paths, images_dir)
    except NotCoco as error:
        return Checkup(path, [Finding("unusable", error.found, 1, "file", error.remedy)])
    complete_keypoints(source.content, {kind.name: kind.keypoints for kind in trained.classes} if trained else {})
    raw, mending = read_with_findings(path, source.content), Mending(source.content).mend()
    reading = read_with_findings(path, mending.content) if mending.changes or raw.faults or raw.notes else raw
    folders = source.folders if open_images else []
    images = look_at_images(reading.names, folders, stretch) if open_images else Images([], [], {})
    reading, judgement, misread = _read_as_meant(path, reading, images)
    findings, sides = misread + check_structure(raw, reading, mending.changes), judge_sides(reading)
    findings += [Finding("note", note, 0, "") for note in source.notes]
    frames = Frames.as_written(reading)
    if open_images:
        found, frames = check_images(reading, images, folders)
        findings += found
    labels = settle_labels(reading, frames, point_box) if reading.annotations is not None else None
    statistics = None
    if for_training:
        findings += check_categories(reading) + sides
    if labels is not None:
        # A file to validate on needs objects, too, but not on two images.
        findings += check_objects(labels, reading, is_split) if is_split is not None and not frames.lost.all() else []
        findings += check_labelled(labels) if for_training else []
        findings += check_boxes(labels, reading) + check_keypoints(labels, reading)
        statistics = measure_labels(labels, image_size)
        findings += check_rare_classes(labels.schema, statistics) if for_training else []
        findings += check_statistics(labels, reading, statistics) + check_negatives(reading, labels, frames.lost)
    changes = mending.changes + [note for note in raw.notes if not find_same_kind(reading.notes, note)]
    changes += [finding.at_level("mendable", "") for finding in misread if finding.is_misread]
    return Checkup(
        path, sort_findings(findings), reading, images, frames, labels, statistics, changes, judgement, source=source
    )


def _read_as_meant(path: Path, reading: Reading, images: Images) -> tuple[Reading, Judgement, list[Finding]]:
    """The doctor's reading with numbers as COCO has them where the file means something else, and what is said about it."""
    sizes = reading.sizes.copy()
    for row, look in enumerate(images.looks):
        sizes[row] = sizes[row] if sizes[row].all() else look.size
    judgement = judge_meaning(reading, sizes)
    findings = check_meaning(reading, judgement)
    if judgement.meaning != COCO:
        reading = read_with_findings(path, write_as_coco(reading, judgement.meaning, sizes))
    return reading, judgement, findings


def _compare_categories(train: Checkup, val: Checkup) -> list[Finding]:
    """Findings about categories that differ between a checked training and validation file, and about twin pictures."""
    if train.schema is None or val.schema is None:
        return []
    findings = []
    strangers = tuple(name for name in val.schema.class_names if name not in train.schema.class_names)
    if strangers:
        remedy = "rename them in the file, or delete them with their annotations"
        title = "not in the training file"
        findings.append(Finding("unusable", title, len(strangers), "category", remedy, strangers[:10], part="val"))
    others = [kind for kind in val.schema.classes if kind.name not in strangers]
    ours = {kind.name: set(kind.keypoints) for kind in train.schema.classes}
    unlike = tuple(kind.name for kind in others if set(kind.keypoints) != ours[kind.name])
    if unlike:
        title, remedy = "other keypoints than in the training file", "rename them in the file; their order may differ"
        findings.append(Finding("unusable", title, len(unlike), "category", remedy, unlike[:10], part="val"))
    return findings + check_twins(train.images.looks, val.images.looks, train.reading, val.reading)


def write_mended(checkup: Checkup, out: str | Path, *, boxes_from_keypoints: bool = False, drop: bool = False) -> list[Finding]:
    """What `check --fix` writes: a mended copy of the file, all at once; the file itself is never changed.

    Args:
        out: the new JSON; image names are written so that they lead to the files from there.
        boxes_from_keypoints: write boxes around the labelled keypoints where there is none.
        drop: leave out what training could not use; without it, faults that cannot be mended stay in the copy.

    Returns:
        What was changed, one finding for each kind.

    Raises:
        ValueError: the file is no COCO dataset, `out` is a file that was examined, or `drop` would leave labels that contradict
            their pictures, or none.
    """
    out = Path(out)
    if checkup.reading is None:
        raise ValueError(f"{checkup.path}: found no COCO dataset, expected one to mend; see the findings.")
    if drop and checkup.judgement.is_in_vain:
        raise ValueError(
            f"{checkup.path}: found most labels in contradiction to their pictures, expected a few to leave out; see the "
            "findings, no part of such a file is certain."
        )
    checkups = [c for c in (checkup, checkup.val) if c]
    WriteGuard([path for c in checkups for path in (*c.source.files, *c.images.paths) if path], overwrite=True).check([out])
    names = name_images(checkup.reading, checkup.images, out)
    content, changes = mend_labels(
        checkup.reading,
        checkup.labels,
        checkup.frames,
        boxes_from_keypoints=boxes_from_keypoints,
        drop=drop,
        names=names,
    )
    for name in NOUNS if not drop else ():  # what nobody could mend stays, and stays a fault
        content[name] = content[name] + [entry for entry in checkup.source.content[name] if not isinstance(entry, dict | None)]
    write_json(out, content)
    return checkup.changes + changes
