"""What is wrong with the file's lists: categories, skeletons, ids, vectors; and what of it the mending makes right."""

from collections import Counter

import numpy as np

from centerkp.doctor import mend
from centerkp.doctor.findings import Finding, find_same_kind
from centerkp.doctor.mend import DUMMY, FLIP_INDICES, FROM_MASK, NESTED, OUT_OF_RANGE, PAIRS, SAME_CATEGORY, ZERO_BASED
from centerkp.doctor.reader import Reading
from centerkp.doctor.settled_labels import Labels
from centerkp.labels.annotations import HIDDEN_POINTS, NO_POINTS, NUMBERS, UNNAMED_POINTS, WRONG_LENGTH
from centerkp.labels.tables import NO_OBJECTS, NOUNS, REPEATED_IDS
from centerkp.wording import count_of

# Mendings that nothing the reader says would tell the user, and what to know about each.
_TOLD = {
    PAIRS: "read with visibility 2, or 0 where x and y are 0; --fix writes it",
    NESTED: "read as one list; --fix writes it",
    FLIP_INDICES: "read as pairs of names; --fix writes them",
    FROM_MASK: "read so; --fix writes it",
    ZERO_BASED: "read as meant; --fix adds 1",
    OUT_OF_RANGE: "left out, as --fix does",
    DUMMY: "left out; --fix deletes it",
    SAME_CATEGORY: "read as one; --fix writes one",
}
# Faults and the mendings that are about the same, in other words.
_ANSWERS = {REPEATED_IDS.format("annotation"): mend.REPEATED_IDS, NUMBERS[0]: mend.NO_NUMBERS}
# Faults of which those mendings tell better.
_SAME = {WRONG_LENGTH: {PAIRS, NESTED}, "'flip_pairs'": {FLIP_INDICES}, "names must be unique": {SAME_CATEGORY, DUMMY}}
# What the reader says of files with nothing wrong, or what the doctor says better in another place.
_HARMLESS = (NO_POINTS, HIDDEN_POINTS)
_KEPT = tuple(NO_OBJECTS.format(name) for name in NOUNS)  # faults of entries that the mended lists do not hold


def check_structure(raw: Reading, mended: Reading, changes: list[Finding]) -> list[Finding]:
    """Findings about a file's lists before and after the mending: what the reader refuses or mends, what only `changes` tell.

    A fault that the mended file has no more is mendable, one that it still has makes the file unusable. A note that it
    still has says nothing about the file's form and is only a note.
    """
    findings = []
    told = [change.at_level("mendable", _TOLD[change.title]) for change in changes if change.title in _TOLD]
    done = {change.title for change in changes}
    for fault in raw.faults:
        left = fault if fault.title in _KEPT else find_same_kind(mended.faults, fault)
        if left:
            findings.append(left)
        elif not any(words in fault.title and done & titles for words, titles in _SAME.items()):
            findings.append(fault.at_level("mendable", _say_how_it_is_mended(fault, changes)))
    # Faults that showed only once the categories could be read.
    findings += [fault for fault in mended.faults if not find_same_kind(raw.faults, fault)]
    findings += told
    for note in raw.notes:
        left = find_same_kind(mended.notes, note)
        if note.title == UNNAMED_POINTS:
            remedy = "name them in the category's 'keypoints', or they are not trained on"
            findings.append(note.at_level("suspicious", remedy))
        elif left or note.title in _HARMLESS:
            findings.append(note.at_level("note", ""))
        else:
            findings.append(note.at_level("mendable", "--fix writes it so"))
    return findings


def _say_how_it_is_mended(fault: Finding, changes: list[Finding]) -> str:
    """How a fault of the file's lists is mended, in the words of the mending where one is about the same."""
    answer = _ANSWERS.get(fault.title)
    is_told = any(change.title == answer for change in changes)
    return f"read as it is meant; --fix writes it so{f': {answer}' if is_told else ''}"


def check_categories(reading: Reading) -> list[Finding]:
    """Findings about the list of categories of a mended file that is to be trained on."""
    if reading.schema is None:
        return []
    findings, kinds = [], reading.schema.classes
    if reading.unused:
        title, remedy = "used by no annotation", "left out of training: label some, or --fix --drop leaves them out of the file"
        findings.append(Finding("advice", title, len(reading.unused), "category", remedy, reading.unused[:10]))
    folded = Counter(" ".join(kind.name.split()).casefold() for kind in kinds)
    alike = tuple(repr(kind.name) for kind in kinds if folded[" ".join(kind.name.split()).casefold()] > 1)
    if alike:
        title, remedy = (
            "names that differ by case or blanks alone",
            "write them alike if one is meant: each is a class of its own",
        )
        findings.append(Finding("suspicious", title, len(alike), "category", remedy, alike[:10]))
    ids = [kind.category_id for kind in kinds]
    if len(ids) > 1 and ids != list(range(ids[0], ids[0] + len(ids))):
        title = f"ids with gaps, from {ids[0]} to {ids[-1]}"
        findings.append(Finding("note", title, len(ids), "category", "nothing to do: ids may be any numbers"))
    guessed = [kind for kind in kinds if kind.keypoints and kind.sigma_source == "guess"]
    if guessed:
        names = tuple(kind.name for kind in guessed[:10])
        remedy = "keypoint AP is only fair with them: 'centerkp sigmas' estimates them from images labelled twice"
        findings.append(
            Finding("note", "no 'oks_sigmas' in the category, 0.05 assumed", len(guessed), "category", remedy, names)
        )
    return findings


def check_objects(labels: Labels, reading: Reading, is_split: bool) -> list[Finding]:
    """Findings about files without objects to learn from or to validate on, and with too few to do both (`is_split`)."""
    number, usable = len(reading.annotations.ids), labels.has_box & ~labels.is_crowd
    shown, remedy = len(np.unique(labels.image_rows[usable])), "there is nothing to learn from: export again with the labels"
    if not number:
        return [Finding("unusable", "no annotation in this file", 1, "file", remedy)]
    if usable.any() and (shown > 1 or not is_split):
        return []
    if usable.any():
        title, remedy = "objects on this one alone", "give --val, or label more: training keeps some images back to validate on"
        return [Finding("unusable", title, 1, "image", remedy)]
    title = f"no object that could be trained on, of {count_of(number, 'annotation')}"
    if len(labels.rows) and labels.flat.all() and not labels.schema.num_keypoints:
        title += ": points stand as boxes without size, each in a category of its own"
        remedy = "one category with 'keypoints' is meant: export the labels again as keypoints"
    elif (labels.visibility[~labels.has_box & ~labels.is_crowd] > 0).any():
        remedy = "single keypoints have no box of their own: --point-box 32 makes one so large around each"
    return [Finding("unusable", title, 1, "file", remedy)]


def check_negatives(reading: Reading, labels: Labels | None, lost: np.ndarray) -> list[Finding]:
    """Findings about the images in a file's list without objects: right unless most are; not those `lost` anyway (n,)."""
    if labels is None or not reading.num_images:
        return []
    has = np.bincount(labels.image_rows, minlength=reading.num_images) > 0
    empty = np.flatnonzero(~has & ~lost)
    if not len(empty) or len(empty) == len(has):
        return []
    places = tuple(reading.label_image(row) for row in empty[:10])
    if len(empty) <= 0.5 * len(has):
        title = f"without annotations (of {count_of(len(has), 'image')}), trained on as background"
        return [Finding("note", title, len(empty), "image", "", places)]
    title = f"without annotations, most of the file's {len(has)}: everything on them is trained as background"
    return [
        Finding(
            "suspicious", title, len(empty), "image", "right if nothing is on them; else label them or take them out", places
        )
    ]
