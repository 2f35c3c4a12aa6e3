"""What is wrong with the file's lists: categories, skeletons, ids, vectors; and what of it the mending makes right."""

import numpy as np

from centerkp.doctor import mend
from centerkp.doctor.findings import Finding, find_same_kind
from centerkp.doctor.mend import DUMMY, NESTED, OUT_OF_RANGE, PAIRS, ZERO_BASED
from centerkp.doctor.reader import Reading
from centerkp.doctor.settled_labels import Labels
from centerkp.labels.annotations import HIDDEN_POINTS, NO_POINTS, NUMBERS, UNNAMED_POINTS, WRONG_LENGTH
from centerkp.labels.tables import REPEATED_IDS
from centerkp.wording import count_of

# Mendings that nothing the reader says would tell the user, and what to know about each.
_TOLD = {
    PAIRS: "--fix adds visibility: 2, or 0 where x and y are 0",
    NESTED: "--fix writes one list",
    ZERO_BASED: "read as meant; --fix adds 1",
    OUT_OF_RANGE: "left out, as --fix does",
    DUMMY: "--fix deletes it; it would be a class of the network that never occurs",
}
# Faults and the mendings that are about the same, in other words.
_ANSWERS = {REPEATED_IDS.format("annotation"): mend.REPEATED_IDS, NUMBERS[0]: mend.NO_NUMBERS}
# What the reader says of files with nothing wrong, or what the doctor says better in another place.
_HARMLESS = (NO_POINTS, HIDDEN_POINTS)


def check_structure(raw: Reading, mended: Reading, changes: list[Finding]) -> list[Finding]:
    """Findings about a file's lists before and after the mending: what the reader refuses or mends, what only `changes` tell.

    A fault that the mended file has no more is mendable, one that it still has makes the file unusable. A note that it
    still has says nothing about the file's form and is only a note.
    """
    findings = []
    told = [change.at_level("mendable", _TOLD[change.title]) for change in changes if change.title in _TOLD]
    vectors = any(change.title in (PAIRS, NESTED) for change in changes)
    for fault in raw.faults:
        left = find_same_kind(mended.faults, fault)
        if left:
            findings.append(left)
        elif not (fault.title == WRONG_LENGTH and vectors):
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
    return f"training refuses it; --fix mends it{f': {answer}' if is_told else ''}"


def check_categories(reading: Reading, labels: Labels | None) -> list[Finding]:
    """Findings about the list of categories of a mended file that is to be trained on."""
    if reading.schema is None:
        return []
    findings, kinds = [], reading.schema.classes
    if labels is not None:
        used = np.bincount(labels.class_ids, minlength=len(kinds))
        # Classes that name keypoints are refused without labels, which check_keypoints says.
        empty = [kind for kind, n in zip(kinds, used, strict=True) if not n and not kind.keypoints]
        if empty and len(empty) < len(kinds):
            names = tuple(f"category {kind.category_id} ({kind.name})" for kind in empty[:10])
            title, remedy = (
                "used by no annotation",
                "label some, or delete it: it takes a class of the network that never occurs",
            )
            findings.append(Finding("suspicious", title, len(empty), "category", remedy, names))
        if not len(labels.rows):
            title, remedy = "the file has no usable annotation", "there is nothing to learn from: export again with the labels"
            findings.append(Finding("suspicious", title, 1, "file", remedy))
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
