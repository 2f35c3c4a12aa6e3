"""What is wrong with the image files: missing, unreadable, of another size, turned by EXIF, twice the same."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from centerkp.doctor.findings import PICTURES, Finding, make_finding
from centerkp.doctor.frames import check_frames, settle_frames
from centerkp.doctor.look import Images, Look
from centerkp.doctor.reader import Reading
from centerkp.doctor.settled_labels import Frames


def check_images(reading: Reading, images: Images, folders: Sequence[Path]) -> tuple[list[Finding], Frames]:
    """The doctor's findings about the image files, and the frames of the labels that follow from them."""
    findings = _check_files_on_disk(reading, images, folders)
    if not any(look.digest for look in images.looks):  # nothing was found: the JSON's own sizes are all there is
        return findings, Frames.as_written(reading)
    kinds, frames = settle_frames(reading, images.looks)
    for row, path in enumerate(images.paths):
        frames.lost[row] |= path is None
    if frames.lost.all():
        remedy = "mend the images or their entries"
        findings.append(Finding("unusable", "left out, all there are", reading.num_images, "image", remedy))
    more = check_frames(reading, images.looks, kinds) + _check_copies(reading, images.looks)
    return findings + more + _check_oddities(reading, images), frames


def _check_oddities(reading: Reading, images: Images) -> list[Finding]:
    """Findings about image files that are whole and decode to something else than a viewer would expect."""
    rows = defaultdict(list)
    for row, look in enumerate(images.looks):
        for oddity in look.oddities:
            rows[oddity].append(row)
    findings = []
    if levels := images.levels:
        title = f"pictures of more than 8 bits stretched, {levels.black:.7g} is black and {levels.white:.7g} white"
        findings.append(Finding("note", title, 1, "file", f"train with --stretch {levels}"))
    for oddity, some in rows.items():
        level = "suspicious" if oddity.remedy else "note"
        findings += make_finding(
            level, oddity.text, some, noun="image", remedy=oddity.remedy, place=reading.label_image, image_row=int
        )
    return findings


def _check_files_on_disk(reading: Reading, images: Images, folders: Sequence[Path]) -> list[Finding]:
    """Findings about image files that are missing, unclear or cannot be read."""
    label, searched = reading.label_image, ", ".join(map(str, folders))
    missing = [row for row, path in enumerate(images.paths) if path is None and row not in images.unclear]
    remedy = f"looked in {searched} and below: name their folder with --images DIR; --no-images checks the JSON alone"
    if len(missing) < reading.num_images:
        remedy = "copy them there, or --fix --drop leaves out their entries"
    findings = make_finding(
        "unusable", f"no such file in {searched} or below", missing, noun="image", remedy=remedy, place=label
    )

    def fits(row: int) -> str:
        return f"{label(row)} fits {', '.join(map(str, images.unclear[row][:5]))}"

    remedy = "write the sub-folder into 'file_name', or give a folder with --images that holds only the right files"
    findings += make_finding(
        "unusable", "several files fit the name", sorted(images.unclear), noun="image", remedy=remedy, place=fits
    )
    findings += _check_names(reading, images)
    broken = [row for row, look in enumerate(images.looks) if look.error]
    remedy = "left out of training: copy them again, or --fix --drop leaves out their entries"
    level = "unusable" if len(broken) == reading.num_images else "suspicious"
    return findings + make_finding(
        level,
        "cannot be read",
        broken,
        noun="image",
        remedy=remedy,
        place=lambda r: f"{label(r)}: {_short_image_error(images, r)}",
    )


def _short_image_error(images: Images, row: int) -> str:
    """Why an image file of a finding cannot be read, without its path."""
    return images.looks[row].error.removeprefix(f"{images.paths[row]}: ")


def _check_names(reading: Reading, images: Images) -> list[Finding]:
    """Findings about `file_name`s that lead to an image file only by a detour, and files that several entries name."""
    users = defaultdict(list)
    for row, path in enumerate(images.paths):
        if path is not None:
            users[path].append(row)

    def detour(row: int) -> str:
        return f"{reading.label_image(row)} -> {images.paths[row]}"

    plain = [name.replace("\\", "/").removeprefix("./") for name in reading.names]
    moved = [
        r
        for r, p in enumerate(images.paths)
        if p is not None and (plain[r] != reading.names[r] or not p.as_posix().endswith(plain[r]))
    ]
    title, remedy = (
        "'file_name' written otherwise than the file is called",
        "found all the same; --fix writes the way to the file",
    )
    findings = make_finding("mendable", title, moved, noun="image", remedy=remedy, place=detour)
    shared = [rows for rows in users.values() if len(rows) > 1]
    odd = [r for rows in shared if len({plain[r] for r in rows}) > 1 for r in rows]
    title = "different names that lead to one file"
    remedy = "write the sub-folder into 'file_name', or give a folder with --images that holds only the right files"
    findings += make_finding("unusable", title, odd, noun="image", remedy=remedy, place=detour)
    again = [r for rows in shared if rows[0] not in odd for r in rows]
    title, remedy = (
        "listed under several ids",
        "merge the entries: each id has only some of the objects, the rest looks like background",
    )
    return findings + make_finding(
        "suspicious", title, again, noun="image", remedy=remedy, place=reading.label_image, image_row=int
    )


def _check_copies(reading: Reading, looks: Sequence[Look]) -> list[Finding]:
    """Findings about images whose files have the bytes of another one's."""
    groups = defaultdict(list)
    for row, look in enumerate(looks):
        if look.digest:
            groups[look.digest].append(row)
    copies = [rows for rows in groups.values() if len({reading.names[row] for row in rows}) > 1]
    firsts = {row: rows[0] for rows in copies for row in rows[1:]}

    def place(row: int) -> str:
        return f"{reading.label_image(row)} is {reading.label_image(firsts[row])}"

    title, remedy = (
        "the same file under another name",
        "keep one, with all its labels; copies in train and val make validation too good",
    )
    found = make_finding("suspicious", title, sorted(firsts), noun="image", remedy=remedy, place=place)
    return [replace(f, pairs=tuple(firsts.items())[:PICTURES]) for f in found]
