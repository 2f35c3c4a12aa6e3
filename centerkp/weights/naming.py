"""What the channels of a checkpoint are called: it has numbers only, the names stand in a label map or a COCO JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from centerkp.formats.label_map import read_label_map
from centerkp.schema import ObjectClass, Schema
from centerkp.weights.checkpoint import escape
from centerkp.weights.checkpoint_structure import Structure
from centerkp.weights.coco_schema import UNUSED, coco_schema, unused_classes
from centerkp.weights.pipeline_config import Pipeline
from centerkp.weights.zoo_sources import Task

COCO_SHAPE = 90, (17,)  # class channels, keypoints of the tasks
PERSON_SHAPE = 1, (17,)  # the zoo's MobileNet knows people alone; its task is called as in all COCO models
PERSON_TASK = "human_pose"


@dataclass(frozen=True)
class Names:
    """Classes as a label map or a COCO JSON has them.

    `origin` is the file, and `labels` says what a pipeline.config may call them instead, `{label: name}`.
    """

    schema: Schema
    origin: str
    labels: Mapping[str, str] = field(default_factory=dict)


def read_names(coco: str | Path | None, label_map: str | Path | None) -> Names | None:
    """Names for a checkpoint's channels from a COCO JSON or a label map, None without either; errors as in `convert`."""
    if coco and label_map:
        raise ValueError("convert: found --coco and --label-map, expected one of them; both name the classes.")
    if coco:
        if not Path(coco).is_file():
            raise FileNotFoundError(f"{coco}: no such file; expected the COCO JSON the checkpoint was trained on.")
        return Names(Schema.from_coco(coco), str(coco))
    if label_map:
        categories = read_label_map(label_map)
        return Names(Schema.from_coco({"categories": categories}), str(label_map), {c["label"]: c["name"] for c in categories})
    return None


def name_channels(
    structure: Structure, names: Names | None, pipeline: Pipeline | None, where: str
) -> tuple[Schema, dict[int, Task], list[str]]:
    """Names a checkpoint's channels: the schema, the task of each class that has one, and lines on the names' sources.

    Raises:
        ValueError: the files do not fit the checkpoint, or do not say which class a keypoint task belongs to.
    """
    count = structure.num_classes
    if pipeline and pipeline.num_classes not in (None, count):
        raise ValueError(
            f"{pipeline.path}: found num_classes {pipeline.num_classes}, expected the {count} of {where}; give its own "
            "pipeline.config with --pipeline."
        )
    if names:
        classes, origin = _place_classes(names, count, where), names.origin
    elif is_coco(structure):
        classes = list(coco_schema().classes)[:count]
        what = "90 classes and 17 keypoints suggest" if count > 1 else f"17 keypoints of a task '{PERSON_TASK}' suggest"
        origin = f"COCO's own, as {what}"
    elif count == 1 or not structure.tasks:
        classes, origin = list(Schema.generic(count).classes), "made up; give --label-map or --coco for the real ones"
    else:
        raise ValueError(
            f"{where}: found {count} classes and the keypoint tasks {[t.name for t in structure.tasks]} without their names, "
            "expected a label map or the training JSON; pass --label-map label_map.pbtxt or --coco ann.json."
        )
    tasks, notes = {}, [f"classes: {count}, names: {origin}"]
    wanted = {escape(task): name for task, name in (pipeline.task_classes if pipeline else {}).items()}
    for task in structure.tasks:
        class_id, why = _find_class(task, classes, wanted.get(task.name), names, pipeline, where)
        if class_id in tasks:
            raise ValueError(
                f"{where}: found the keypoint tasks '{tasks[class_id].name}' and '{task.name}' for the one class "
                f"'{classes[class_id].name}', expected a class each; pass the right --pipeline."
            )
        tasks[class_id] = task
        classes[class_id] = _name_keypoints(classes[class_id], task, where)
        points = ", ".join(classes[class_id].keypoints)
        notes.append(f"keypoint task {task.name}: {task.keypoints} keypoints of '{classes[class_id].name}' ({why}): {points}")
    for class_id, kind in enumerate(classes):
        if kind.keypoints and class_id not in tasks:
            notes.append(f"'{kind.name}': {len(kind.keypoints)} keypoints named, but the checkpoint has no task for them")
            classes[class_id] = ObjectClass(kind.name, kind.category_id)
    schema = Schema(tuple(classes))
    unused = [schema.class_names[i] for i in unused_classes(schema)]
    if unused:
        notes.append(f"channels without a name, never detections: {', '.join(unused)}")
    return schema, tasks, notes


def is_coco(structure: Structure) -> bool:
    """Whether a checkpoint's channels can have COCO's names: as many as the zoo's models have, all or the person's."""
    shape = structure.num_classes, tuple(task.keypoints for task in structure.tasks)
    return shape == COCO_SHAPE or (shape == PERSON_SHAPE and structure.tasks[0].name == PERSON_TASK)


def _place_classes(names: Names, count: int, where: str) -> list[ObjectClass]:
    """Names for a checkpoint's class channels: channel = id - 1 as the API has it, or by rank when both are as many."""
    classes = names.schema.classes
    ids = [kind.category_id for kind in classes]
    if min(ids) >= 1 and max(ids) <= count:
        by_channel = {kind.category_id - 1: kind for kind in classes}
        return [by_channel.get(i, ObjectClass(f"{UNUSED}{i + 1}", i + 1)) for i in range(count)]
    if len(ids) == count:
        return list(classes)
    raise ValueError(
        f"{names.origin}: found {len(ids)} classes with ids {min(ids)} to {max(ids)}, expected ids 1 to {count} for the "
        f"class channels of {where}; give the file it was trained with."
    )


def _find_class(
    task: Task, classes: Sequence[ObjectClass], wanted: str | None, names: Names | None, pipeline: Pipeline | None, where: str
) -> tuple[int, str]:
    """Which class's name a checkpoint's keypoint task gets: its class id, and why."""
    if wanted:
        name = names.labels.get(wanted, wanted) if names else wanted
        named = [i for i, kind in enumerate(classes) if kind.name == name]
        if named:
            return named[0], f"class {wanted} in {pipeline.path.name}"
    if len(classes) == 1:
        return 0, "the only class"
    fitting = [i for i, kind in enumerate(classes) if len(kind.keypoints) == task.keypoints]
    if len(fitting) == 1:
        return fitting[0], "the only class with so many"
    raise ValueError(
        f"{where}: found the keypoint task '{task.name}' with {task.keypoints} keypoints, which fits {len(fitting)} classes "
        f"{[classes[i].name for i in fitting]}, expected one; pass --pipeline pipeline.config with --label-map, which name "
        "its class."
    )


def _name_keypoints(kind: ObjectClass, task: Task, where: str) -> ObjectClass:
    """Names a class's keypoints, those of its checkpoint task, numbers where no file has them."""
    if not kind.keypoints:
        return replace(kind, keypoints=tuple(f"point_{i}" for i in range(task.keypoints)), oks_sigmas=(), sigma_source="guess")
    if len(kind.keypoints) != task.keypoints:
        raise ValueError(
            f"{where}: found {task.keypoints} keypoints in the task '{task.name}', expected {len(kind.keypoints)}, which is "
            f"what class '{kind.name}' has by name; give the files it was trained with."
        )
    return kind
